"""Faults of the training of the generator."""

from __future__ import annotations

from tests.planted import Fault

PHASES, LOSSES = "rls/stylegan2/phases.py", "rls/stylegan2/losses.py"
TRAINER, INPUTS = "rls/stylegan2/trainer.py", "rls/stylegan2/step_inputs.py"
TESTS = "tests/rls/test_stylegan2_augmented_phases.py"
GENERATOR = f"{TESTS}::test_the_generator_sees_the_slopes_of_augmented_images_of_mixed_styles"
DISCRIMINATOR = f"{TESTS}::test_the_discriminator_sees_both_kinds_augmented_each_by_its_own_draws"
R1 = f"{TESTS}::test_r1_is_the_slope_of_the_logits_of_augmented_images_by_the_images_themselves"
PATH = f"{TESTS}::test_path_lengths_are_those_of_plain_images_of_mixed_styles"
SIGNS = f"{TESTS}::test_r_t_counts_the_signs_of_augmented_real_images"
DRAWS = f"{TESTS}::test_every_use_image_and_step_has_draws_of_its_own"
NUMBERS = f"{TESTS}::test_every_phase_image_and_step_has_normal_numbers_of_its_own"
MIXING = (
    f"{TESTS}::test_styles_are_mixed_with_the_given_probability_at_every_layer_and_apart_for_"
    "each_phase"
)
AVERAGE = f"{TESTS}::test_the_average_follows_the_updated_generator_at_the_decay_of_its_half_life"
RAMP = f"{TESTS}::test_the_ramp_of_the_average_knows_the_images_seen"
ORDER = f"{TESTS}::test_penalties_come_at_their_intervals_after_the_losses_of_their_networks"
MIXED = (GENERATOR, DISCRIMINATOR, PATH)

STEP_LINES = (
    "        for phase in self._due():\n            phase()\n",
    "        decay = ema_decay(\n            settings.batch_size, self.images_seen, "
    "settings.ema_kimg, settings.ema_rampup\n        )\n"
    "        update_average(self.average, self.generator, decay)\n",
)

FAULTS = [
    Fault(
        "the generator's images are not augmented", PHASES,
        'self.networks.frozen_logits(self._augmented(fake, "generator"))',
        "self.networks.frozen_logits(fake)",
        (GENERATOR,),
    ),
    Fault(
        "the generator's images take the draws of the discriminator's", PHASES,
        'self._augmented(fake, "generator")', 'self._augmented(fake, "generated")',
        (GENERATOR,),
    ),
    Fault(
        "generated images of the discriminator are not augmented", PHASES,
        'fake, real = self._augmented(fake, "generated"), self._augmented(self.real, "real")',
        'fake, real = fake, self._augmented(self.real, "real")',
        (DISCRIMINATOR,),
    ),
    Fault(
        "real images of the discriminator are not augmented", PHASES,
        'self._augmented(fake, "generated"), self._augmented(self.real, "real")',
        'self._augmented(fake, "generated"), self.real',
        (DISCRIMINATOR, SIGNS),
    ),
    Fault(
        "real and generated images share their draws", PHASES,
        'self._augmented(self.real, "real")', 'self._augmented(self.real, "generated")',
        (DISCRIMINATOR,),
    ),
    Fault(
        "R1 on images that are not augmented", PHASES,
        'images, lambda images: self._augmented(images, "R1")', "images, lambda images: images",
        (R1,),
    ),
    Fault(
        "R1 takes the slope by the augmented images", "rls/stylegan2/network_uses.py",
        "        logits = self.discriminator(augmented(images))\n"
        "        return image_gradient(logits, images), logits",
        "        images = augmented(images)\n        logits = self.discriminator(images)\n"
        "        return image_gradient(logits, images), logits",
        (R1,),
    ),
    Fault(
        "R1 without its interval", PHASES,
        "scale = settings.r1_gamma / 2 * settings.r1_interval", "scale = settings.r1_gamma / 2",
        (R1,),
    ),
    Fault(
        "R1 without its half", PHASES,
        "scale = settings.r1_gamma / 2 * settings.r1_interval",
        "scale = settings.r1_gamma * settings.r1_interval",
        (R1,),
    ),
    Fault(
        "r_t from generated images", PHASES,
        "discriminator_loss(fake_logits, real_logits), real_logits",
        "discriminator_loss(fake_logits, real_logits), fake_logits",
        (SIGNS,),
    ),
    Fault(
        "real and generated logits exchanged", PHASES,
        "fake_logits, real_logits = logits[0::2], logits[1::2]",
        "fake_logits, real_logits = logits[1::2], logits[0::2]",
        (DISCRIMINATOR, SIGNS),
    ),
    Fault(
        "r_t leaves out the images of R1", PHASES,
        "        self._add_signs(logits)\n", "", (SIGNS,),
    ),
    Fault(
        "styles are never mixed", PHASES,
        "        if inputs.other_z is not None:\n"
        "            ws = torch.where(inputs.from_z[:, None], ws, mapping(inputs.other_z))\n", "",
        MIXED,
    ),
    Fault(
        "styles are mixed the other way round", PHASES,
        "torch.where(inputs.from_z[:, None], ws, mapping(inputs.other_z))",
        "torch.where(inputs.from_z[:, None], mapping(inputs.other_z), ws)",
        MIXED,
    ),
    Fault(
        "the path length takes the images of the generator's phase", PHASES,
        'inputs = self.inputs.fake["path length"]', 'inputs = self.inputs.fake["generator"]',
        (PATH,),
    ),
    Fault(
        "the path length without its interval", PHASES,
        "scale = settings.path_length_weight * settings.path_length_interval",
        "scale = settings.path_length_weight", (PATH,),
    ),
    Fault(
        "the path length takes the mean of before", LOSSES,
        "return (lengths - new).square(), new", "return (lengths - mean).square(), new", (PATH,),
    ),
    Fault(
        "y of the path length is not scaled", LOSSES,
        "return noise / math.sqrt(noise.shape[2] * noise.shape[3])", "return noise", (PATH,),
    ),
    Fault(
        "path lengths are summed over styles", LOSSES,
        ".sum(dim=2).mean(dim=1).sqrt()", ".sum(dim=2).sum(dim=1).sqrt()", (PATH,),
    ),
    Fault(
        "the generator's loss saturates", LOSSES,
        "return F.softplus(-fake_logits).mean()", "return -F.softplus(fake_logits).mean()",
        (GENERATOR,),
    ),
    Fault(
        "the discriminator and the generator see the same z", PHASES,
        "fake = self._fake(\"discriminator\", self.networks.synthesis_alone)",
        "fake = self._fake(\"generator\", self.networks.synthesis_alone)", (DISCRIMINATOR,),
    ),
    Fault(
        "the average is not updated", TRAINER,
        "        update_average(self.average, self.generator, decay)\n", "", (AVERAGE,),
    ),
    Fault(
        "the average is updated before the phases", TRAINER,
        "".join(STEP_LINES), "".join(STEP_LINES[::-1]),
        (AVERAGE,),
    ),
    Fault(
        "the average is a copy of the generator", TRAINER,
        "update_average(self.average, self.generator, decay)",
        "update_average(self.average, self.generator, 0.0)", (AVERAGE,),
    ),
    Fault(
        "the weights of old and new average are exchanged", "rls/stylegan2/optimisation.py",
        "torch._foreach_lerp_(old, new, 1 - decay)", "torch._foreach_lerp_(old, new, decay)",
        (AVERAGE,),
    ),
    Fault(
        "the ramp of the average counts steps, not images", TRAINER,
        "settings.batch_size, self.images_seen, settings.ema_kimg, settings.ema_rampup",
        "settings.batch_size, self.step, settings.ema_kimg, settings.ema_rampup", (RAMP,),
    ),
    Fault(
        "R1 at every step", TRAINER,
        "if settings.r1_gamma and self.step % settings.r1_interval == 0:",
        "if settings.r1_gamma:", (ORDER,),
    ),
    Fault(
        "the path length at the steps between", TRAINER,
        "self.step % settings.path_length_interval == 0",
        "self.step % settings.path_length_interval != 0", (ORDER,),
    ),
    Fault(
        "the augmentations of a block are those of its first step", INPUTS,
        "self._draws.copy_(self._draws_of_block[i])", "self._draws.copy_(self._draws_of_block[0])",
        (DRAWS,),
    ),
    Fault(
        "every block has the same augmentations", INPUTS,
        'f"block {block}", f"{NAME} draws"', '"block", f"{NAME} draws"', (DRAWS,),
    ),
    Fault(
        "all uses share the draws of one", INPUTS,
        "{use: draws[i] for i, use in enumerate(AUGMENTED)}",
        "{use: draws[0] for i, use in enumerate(AUGMENTED)}", (DRAWS,),
    ),
    Fault(
        "all phases share the normal numbers of one", INPUTS,
        "z, *rest = views[i * per_phase : (i + 1) * per_phase]", "z, *rest = views[:per_phase]",
        (NUMBERS,),
    ),
    Fault(
        "every step has the same normal numbers", INPUTS,
        'f"step {step}", NAME))', '"step", NAME))', (NUMBERS,),
    ),
    Fault(
        "all phases mix at the same layer", INPUTS,
        'f"{NAME} mixing {phase}"', 'f"{NAME} mixing"', (MIXING,),
    ),
    Fault(
        "styles are mixed with the other probability", INPUTS,
        "random.random() < self.settings.style_mixing_probability",
        "random.random() > 2 * self.settings.style_mixing_probability - 0.1", (MIXING,),
    ),
    Fault(
        "the cut leaves out the last layer", INPUTS,
        "random.integers(1, n_styles)", "random.integers(1, n_styles - 1)", (MIXING,),
    ),
]  # fmt: skip
