"""What can be heard in a sound: features that analyses share, one topic per module."""
