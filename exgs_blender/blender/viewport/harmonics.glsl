/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Real spherical harmonics with the Condon-Shortley phase, band after band, as in the reference code of Kerbl et al. 2023. */

/* Four coefficients, from three texels, times four values of the basis. */
vec3 four_terms(ivec2 texel, int group, vec4 basis)
{
  vec4 a = texelFetch(harmonics, texel + ivec2(3 * group, 0), 0);
  vec4 b = texelFetch(harmonics, texel + ivec2(3 * group + 1, 0), 0);
  vec4 c = texelFetch(harmonics, texel + ivec2(3 * group + 2, 0), 0);
  return basis.x * a.xyz + basis.y * vec3(a.w, b.xy) + basis.z * vec3(b.zw, c.x) + basis.w * c.yzw;
}

vec3 radiance(vec3 d, ivec2 texel)
{
  float x = d.x, y = d.y, z = d.z;
  float xx = x * x, yy = y * y, zz = z * z;
  const float c1 = 0.4886025119029199;
  vec3 rgb = four_terms(texel, 0, vec4(0.28209479177387814, -c1 * y, c1 * z, -c1 * x));
#if SH_DEGREE > 1
  const float c2 = 1.0925484305920792;
  vec4 band2 = vec4(c2 * x * y, -c2 * y * z, 0.31539156525252005 * (3.0 * zz - 1.0), -c2 * x * z);
  rgb += four_terms(texel, 1, band2);
  vec4 last = vec4(0.5 * c2 * (xx - yy), 0.0, 0.0, 0.0);
#  if SH_DEGREE > 2
  const float c3 = 0.5900435899266435;
  const float c31 = 0.4570457994644658;
  last.yzw = vec3(-c3 * y * (3.0 * xx - yy), 2.890611442640554 * x * y * z, -c31 * y * (5.0 * zz - 1.0));
#  endif
  rgb += four_terms(texel, 2, last);
#endif
#if SH_DEGREE > 2
  vec4 band3 = vec4(0.3731763325901154 * z * (5.0 * zz - 3.0), -c31 * x * (5.0 * zz - 1.0), 1.445305721320277 * z * (xx - yy), -c3 * x * (xx - 3.0 * yy));
  rgb += four_terms(texel, 3, band3);
#endif
#if SH_DEGREE > 3
  const float c4 = 2.5033429417967046;
  const float c43 = 1.7701307697799304;
  const float c42 = 0.9461746957575601;
  const float c41 = 0.6690465435572892;
  rgb += four_terms(texel, 4, vec4(c4 * x * y * (xx - yy), -c43 * y * z * (3.0 * xx - yy), c42 * x * y * (7.0 * zz - 1.0), -c41 * y * z * (7.0 * zz - 3.0)));
  rgb += four_terms(texel, 5, vec4(0.10578554691520431 * (35.0 * zz * zz - 30.0 * zz + 3.0), -c41 * x * z * (7.0 * zz - 3.0), 0.5 * c42 * (xx - yy) * (7.0 * zz - 1.0), -c43 * x * z * (xx - 3.0 * yy)));
  rgb += four_terms(texel, 6, vec4(0.25 * c4 * (xx * (xx - 3.0 * yy) - yy * (3.0 * xx - yy)), 0.0, 0.0, 0.0));
#endif
  return rgb;
}
