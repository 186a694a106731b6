"""Trials: counterfactual runs. Control against treated, paired seeds, effects with confidence intervals."""
