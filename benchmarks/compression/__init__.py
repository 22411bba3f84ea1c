# SPDX-License-Identifier: GPL-3.0-or-later
"""Rate and distortion of the compressor against the paper's chain, baselines and installed peers.

    python -m benchmarks.compression [--scenes playbot snowmiku-trained FILE ...] [--ratios 100 1000] [--methods ours geometric ...]
                                     [--limit 600] [--fresh] [--record]

One command, all in one run, from the repository's root. Every method encodes in a process of its own, whose time (from its
start to its end) and peak memory are taken. Every file is judged on views that were never scored or fitted, against the
unpruned source; baselines and geometric merging are coded by our coder to the same number of bytes. What is done is kept in
``benchmarks/out/compression``, so an interrupted run goes on where it was; a change in the code that made a result, or
``--fresh``, does it again. Results: ``compression.md``, ``.json``, ``.svg`` and contact sheets in ``benchmarks/out``; with
``--record`` in ``benchmarks/results`` as well.

A scene is a name below or any splat file. Data: ``EXGS_DATA`` (default ``../shared/data`` beside the repository).
"""
