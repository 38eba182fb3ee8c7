"""What a log of served predictions says: drift of inputs and scores, calibration, alarms."""
