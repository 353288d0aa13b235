"""From a whole image to the patches that are worth explaining."""
