/* SPDX-License-Identifier: GPL-3.0-or-later */

void main()
{
  float alpha = min(colour.w * exp(-0.5 * dot(from_centre, from_centre)), ALPHA_MAX);
  if (alpha < ALPHA_MIN) {
    discard;
  }
  if (view.image.z > 0.5 && window_depth > texelFetch(scene_depth, ivec2(gl_FragCoord.xy), 0).x) {
    discard;
  }
  pixel = vec4(colour.xyz * alpha, alpha);
}
