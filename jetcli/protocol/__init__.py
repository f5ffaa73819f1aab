"""Pure protocol: values and machines. No I/O, no clock, no randomness that is not passed in."""
