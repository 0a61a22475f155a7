"""Inputs of every kind, made and harmed at random: a right result, or one sentence."""
