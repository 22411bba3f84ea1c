/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One corner of the quad around a splat: EWA footprint (Zwicker et al. 2001), colour by spherical harmonics.
 * ``corner``: xy -1 or 1, z the splat's number in this instance of the batch. */

void main()
{
  gl_Position = vec4(0.0, 0.0, -2.0, 1.0); /* all corners in one place: nothing is drawn */
  int number = gl_InstanceID * SPLATS_PER_BATCH + int(corner.z);
  if (number >= int(view.options.x)) {
    return;
  }
  vec2 slot = texelFetch(order, ivec2(number % ORDER_WIDTH, number / ORDER_WIDTH), 0).xy;
  int splat = int(slot.x);
  int placed = int(slot.y);
  ivec2 row = ivec2(splat % SPLATS_PER_ROW, splat / SPLATS_PER_ROW + int(texelFetch(instances, ivec2(4, placed), 0).x));
  vec4 first = texelFetch(geometry, ivec2(row.x * 3, row.y), 0);
  vec4 second = texelFetch(geometry, ivec2(row.x * 3 + 1, row.y), 0);
  vec4 third = texelFetch(geometry, ivec2(row.x * 3 + 2, row.y), 0);
  vec4 row_x = texelFetch(instances, ivec2(0, placed), 0);
  vec4 row_y = texelFetch(instances, ivec2(1, placed), 0);
  vec4 row_z = texelFetch(instances, ivec2(2, placed), 0);

  vec4 mean = vec4(first.xyz, 1.0);
  vec3 centre = vec3(dot(row_x, mean), dot(row_y, mean), -dot(row_z, mean)); /* z forward */
  bool ortho = view.options.y > 0.5;
  if (centre.z < view.options.z || first.w < ALPHA_MIN) {
    return;
  }

  /* The image's axes as directions in object space: the derivative of the projection, taken near the image at the farthest. */
  vec2 size = view.image.xy;
  vec2 scale = vec2(view.projection[0][0], view.projection[1][1]);
  vec2 shift = vec2(view.projection[2][0], view.projection[2][1]);
  vec2 focal = 0.5 * size * scale;
  vec2 limited = clamp(centre.xy / centre.z, (shift - 1.0 - FRUSTUM_MARGIN) / scale, (shift + 1.0 + FRUSTUM_MARGIN) / scale);
  vec3 axis_x = focal.x * row_x.xyz;
  vec3 axis_y = focal.y * row_y.xyz;
  if (!ortho) {
    axis_x = (axis_x + focal.x * limited.x * row_z.xyz) / centre.z;
    axis_y = (axis_y + focal.y * limited.y * row_z.xyz) / centre.z;
  }
  mat3 covariance = mat3(second.x, second.y, second.z, second.y, second.w, third.x, second.z, third.x, third.y);
  vec3 along_x = covariance * axis_x;
  vec3 along_y = covariance * axis_y;
  float sharp_xx = dot(axis_x, along_x);
  float xy = dot(axis_x, along_y);
  float sharp_yy = dot(axis_y, along_y);
  float xx = sharp_xx + EPS2D;
  float yy = sharp_yy + EPS2D;

  float opacity = first.w;
  if (view.options.w > 0.5) { /* antialiased: what the low-pass filter widens it also thins (Yu et al. 2024) */
    opacity *= sqrt(max((sharp_xx * sharp_yy - xy * xy) / (xx * yy - xy * xy), 0.0));
    if (opacity < ALPHA_MIN) {
      return;
    }
  }

  /* Axes of the ellipse on which alpha is 1/255. */
  float middle = 0.5 * (xx + yy);
  float apart = length(vec2(0.5 * (xx - yy), xy));
  float longest = sqrt(middle + apart);
  float shortest = sqrt(max(middle - apart, EPS2D));
  vec2 turned = abs(xy) > 1e-6 * middle ? normalize(vec2(xy, middle + apart - xx)) : (xx >= yy ? vec2(1.0, 0.0) : vec2(0.0, 1.0));
  float reach = sqrt(2.0 * log(opacity / ALPHA_MIN));
  vec2 offset = corner.x * longest * turned + corner.y * shortest * vec2(-turned.y, turned.x);
  vec4 clip = view.projection * vec4(centre.xy, -centre.z, 1.0);
  vec2 margin = 2.0 * reach * longest / size;
  if (any(greaterThan(abs(clip.xy), clip.w * (1.0 + margin)))) {
    return;
  }

  int texel = row.x * HARMONICS_TEXELS;
  vec3 seen_from = texelFetch(instances, ivec2(3, placed), 0).xyz;
  vec3 ray = ortho ? seen_from : first.xyz - seen_from;
  vec3 rgb = radiance(ray / max(length(ray), 1e-30), ivec2(texel, row.y));

  from_centre = corner.xy * reach;
  colour = vec4(max(rgb + 0.5, 0.0), opacity);
  window_depth = 0.5 + 0.5 * clip.z / clip.w;
  gl_Position = vec4(clip.xy + clip.w * 2.0 * reach * offset / size, 0.0, clip.w);
}
