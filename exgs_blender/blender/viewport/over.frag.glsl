/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The finished picture (premultiplied, sRGB-encoded) over the view. Blender blends its overlays in a light of its own, display
 * values to the power of 2.2 (not the sRGB curve), so the colour without its alpha is raised to that: exact where the splats are
 * opaque, and free of dark edges where they are not, as in a render. */

void main()
{
  vec4 found = texelFetch(picture, ivec2(gl_FragCoord.xy), 0);
  if (found.w <= 0.0) {
    discard;
  }
  pixel = vec4(pow(clamp(found.xyz / found.w, 0.0, 1.0), vec3(2.2)) * found.w, found.w);
}
