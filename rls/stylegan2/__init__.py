"""StyleGAN2-ADA: networks, augmentation, training, files of weights, and what samples show."""
