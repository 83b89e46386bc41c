"""Video action recognition, from a folder of class-named clips to an honest comparison of sequence models."""
