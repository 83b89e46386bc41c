"""UCF-50: 50 actions in videos from YouTube, 25 source videos a class (Reddy and Shah 2013, Machine Vision and Applications 24)."""

from functools import partial

from actionrec.data.published import Archive, Published, fetch_published

# As in the archive. The data set's page says 6,676 clips, some papers 6,618.
CLASS_CLIPS = {
    "BaseballPitch": 150,
    "Basketball": 137,
    "BenchPress": 160,
    "Biking": 145,
    "Billiards": 150,
    "BreastStroke": 101,
    "CleanAndJerk": 112,
    "Diving": 153,
    "Drumming": 161,
    "Fencing": 111,
    "GolfSwing": 142,
    "HighJump": 123,
    "HorseRace": 127,
    "HorseRiding": 197,
    "HulaHoop": 125,
    "JavelinThrow": 117,
    "JugglingBalls": 122,
    "JumpRope": 148,
    "JumpingJack": 123,
    "Kayaking": 157,
    "Lunges": 141,
    "MilitaryParade": 127,
    "Mixing": 141,
    "Nunchucks": 150,
    "PizzaTossing": 114,
    "PlayingGuitar": 160,
    "PlayingPiano": 105,
    "PlayingTabla": 124,
    "PlayingViolin": 100,
    "PoleVault": 160,
    "PommelHorse": 123,
    "PullUps": 120,
    "Punch": 160,
    "PushUps": 106,
    "RockClimbingIndoor": 148,
    "RopeClimbing": 130,
    "Rowing": 137,
    "SalsaSpin": 133,
    "SkateBoarding": 120,
    "Skiing": 144,
    "Skijet": 100,
    "SoccerJuggling": 156,
    "Swing": 137,
    "TaiChi": 100,
    "TennisSwing": 167,
    "ThrowDiscus": 131,
    "TrampolineJumping": 119,
    "VolleyballSpiking": 116,
    "WalkingWithDog": 123,
    "YoYo": 128,
}

SOURCE = Published(
    title="UCF-50",
    clips=Archive("https://www.crcv.ucf.edu/data/UCF50.rar", 3_233_554_570),
    page="https://www.crcv.ucf.edu/data/UCF50.php",
    classes=50,
    total_clips=6_681,
    class_clips=CLASS_CLIPS,
)

fetch = partial(fetch_published, SOURCE)
