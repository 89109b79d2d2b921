"""Take a mix apart into stems or layers."""
