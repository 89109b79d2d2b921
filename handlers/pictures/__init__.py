"""What pictures are made with: colours and PNG files."""
