"""Tests of the package by itself: no container, no broker."""
