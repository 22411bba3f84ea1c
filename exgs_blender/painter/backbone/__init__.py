# SPDX-License-Identifier: GPL-3.0-or-later
"""GaussPainter on top of the user's own Stable Diffusion class model: read it, adapt it with LoRA, save our pipeline.

``base`` reads and checks the folder, ``adapters`` give its parts the interface of our own, ``lora`` adds and fuses what is
trained, ``build`` trains. No weights of such a model come with the program; what is built is bound by the model's licence.
"""
