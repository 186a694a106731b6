"""Checks of the network: is every input used, can enough get through, are the trained weights the deployed ones?"""
