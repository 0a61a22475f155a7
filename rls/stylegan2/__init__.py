"""StyleGAN2-ADA: networks, augmentation, training, weights files, and sampled images."""
