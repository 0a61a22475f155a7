"""Mechanisms of action from profiles of cells: normalise, aggregate, find the nearest, judge."""
