"""Soil-moisture models: networks and forests that predict soil moisture itself; arrays in, arrays out."""
