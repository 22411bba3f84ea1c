/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The finished picture (premultiplied, sRGB-encoded) over the view. Blender blends its overlays in linear light, so the colour
 * without its alpha is decoded: exact where the splats are opaque, and free of dark edges where they are not, as in a render. */

vec3 linear_from_srgb(vec3 encoded)
{
  vec3 high = pow((encoded + 0.055) / 1.055, vec3(2.4));
  return mix(high, encoded / 12.92, vec3(lessThanEqual(encoded, vec3(0.04045))));
}

void main()
{
  vec4 found = texelFetch(picture, ivec2(gl_FragCoord.xy), 0);
  if (found.w <= 0.0) {
    discard;
  }
  pixel = vec4(linear_from_srgb(clamp(found.xyz / found.w, 0.0, 1.0)) * found.w, found.w);
}
