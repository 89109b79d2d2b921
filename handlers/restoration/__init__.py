"""Repair damage: noise, reverb, echo, clipping, hum."""
