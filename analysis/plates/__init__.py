"""Sources of images, one file each; every source yields the same sample sheet."""
