"""Fused CPU twins of the cells, compiled by Numba when first used; arrays come by their addresses.

Read in this order:

1. ``gru``, ``rnn``, ``lstm``: the equations of a row, forward and backward, and the loop over time around them.
2. ``frame``: what a pass reads and writes. ``product``: the matrix product of a step; ``activations``: sigmoid and
   tanh; ``norm``, ``extras``: the variants.
3. ``simd``: the vectors that all of it is written in.
4. ``scan``: a whole pass as the layers call it: packing, threads.
"""
