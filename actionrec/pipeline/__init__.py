"""Commands that drive DVC: train-all and repair."""
