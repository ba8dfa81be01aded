"""Writes Resources/readings.npz: what two sensors on a swinging mass would record. Needs NumPy:

    python3 make_readings.py

The mass is a damped oscillator that is pushed at random. Its state is the position and the velocity
over the angular frequency, so that a free swing is a shrinking rotation. Once per step one sensor
reads the position, and a worse one reads the velocity; both are silent for a while.
"""

from pathlib import Path

import numpy as np

steps, seed = 300, 7
true = dict(damping=0.02, frequency=0.26, push=0.15, position_noise=0.5, velocity_noise=1.0)

random = np.random.default_rng(seed)
cos, sin = np.cos(true["frequency"]), np.sin(true["frequency"])
move = np.exp(-true["damping"]) * np.array([[cos, sin], [-sin, cos]])
noise = np.array([true["position_noise"], true["velocity_noise"]])
states = np.zeros((steps, 2))
states[0] = random.normal(0, 1, 2)
for t in range(1, steps):
    states[t] = move @ states[t - 1] + random.normal(0, true["push"], 2)
readings = states + random.normal(0, 1, (steps, 2)) * noise
readings[170:195] = np.nan  # nothing was recorded
np.savez_compressed(
    Path(__file__).parent / "Resources" / "readings.npz",
    readings=readings,
    states=states,
    parameters=np.array(list(true.values())),
)
