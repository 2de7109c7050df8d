"""Says how good a run is: masked reconstruction and river flow on the test period, beside baselines."""
