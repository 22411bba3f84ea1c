/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is left of the overlays: nothing where splats are opaque, all of them where the splats are thin. */

void main()
{
  float cover = texture(picture, place).x;
  pixel = vec4(1.0 - smoothstep(0.4, 0.95, cover));
}
