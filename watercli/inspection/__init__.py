"""Looks into stores, runs and exports, and changes nothing."""
