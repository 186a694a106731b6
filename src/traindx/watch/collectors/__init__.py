"""What is watched, one subject a file: each collector writes records and judges nothing."""
