# SPDX-License-Identifier: GPL-3.0-or-later
"""Camera files: INRIA cameras.json, nerfstudio / NeRF transforms.json, COLMAP models, and this project's own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import atomic_path
from ..errors import ExgsError, FileError
from .cameras import FAR_PLANE, NEAR_PLANE, Cameras
from .colmap import is_colmap, read_colmap
from .conventions import FLIP_YZ
from .names import safe_name, unique

OWN_FORMAT = "exgs-cameras"
OWN_VERSION = 1
INRIA_NEAR_PLANE = 0.2
"""The reference rasterizer culls what is nearer (auxiliary.h, in_frustum)."""
HINT = "Give an INRIA cameras.json, a transforms.json, a COLMAP folder, or a file that 'exgs' or the add-on wrote"


def read_cameras(path: str | os.PathLike[str]) -> Cameras:
    """Read any known camera file; the kind is told by its content.

    Raises:
        FileError: missing, not JSON, not a camera file, or a camera without a field it needs.
    """
    path = Path(path)
    if is_colmap(path):
        return read_colmap(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileError(path, "camera file does not exist", HINT) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FileError(path, f"not a readable JSON camera file ({error})", HINT) from error
    try:
        if isinstance(data, dict) and data.get("format") == OWN_FORMAT:
            cameras = _from_own(data)
        elif isinstance(data, dict) and "frames" in data:
            cameras = _from_transforms(data)
        elif isinstance(data, list):
            cameras = _from_inria(data)
        else:
            raise FileError(path, "not a camera file: neither a list of cameras nor an object with 'frames'", HINT)
    except KeyError as error:
        raise FileError(path, f"a camera lacks the field {error}", HINT) from error
    except (TypeError, ValueError, IndexError, np.linalg.LinAlgError) as error:
        raise FileError(path, f"a camera has a value of the wrong kind ({error})", HINT) from error
    except FileError:
        raise
    except ExgsError as error:
        raise FileError(path, str(error), HINT) from error
    if len(cameras) == 0:
        raise FileError(path, "holds no cameras", HINT)
    return cameras


def write_cameras(path: str | os.PathLike[str], cameras: Cameras) -> None:
    """Write this project's camera file (JSON, lossless for float64)."""
    views = [
        {
            "name": cameras.names[i],
            "frame": int(cameras.frames[i]),
            "width": int(cameras.widths[i]),
            "height": int(cameras.heights[i]),
            "K": cameras.Ks[i].tolist(),
            "cam_from_world": cameras.viewmats[i].tolist(),
        }
        for i in range(len(cameras))
    ]
    data = {
        "format": OWN_FORMAT,
        "version": OWN_VERSION,
        "camera_model": cameras.camera_model,
        "near_plane": cameras.near_plane,
        "far_plane": cameras.far_plane,
        "cameras": views,
    }
    with atomic_path(path) as part:
        part.write_text(json.dumps(data, indent=1), encoding="utf-8")


def write_transforms(path: str | os.PathLike[str], cameras: Cameras) -> None:
    """Write nerfstudio's transforms.json: world_from_cam with OpenGL axes, intrinsics in every frame.

    Raises:
        FileError: the views are orthographic, or the file cannot be written.
    """
    if cameras.camera_model != "pinhole":
        raise FileError(path, "transforms.json has no orthographic cameras", "Write our own camera file instead")
    world_from_cam = cameras.world_from_cam()
    world_from_cam[:, :3, :3] /= np.cbrt(np.linalg.det(world_from_cam[:, :3, :3]))[:, None, None]
    frames = [
        {
            "file_path": f"./{cameras.names[i]}.png",
            "transform_matrix": (world_from_cam[i] @ FLIP_YZ).tolist(),
            "w": int(cameras.widths[i]),
            "h": int(cameras.heights[i]),
            **dict(zip(("fl_x", "fl_y", "cx", "cy"), (float(cameras.Ks[i][at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2))), strict=True)),
        }
        for i in range(len(cameras))
    ]
    with atomic_path(path) as part:
        part.write_text(json.dumps({"camera_model": "PINHOLE", "frames": frames}, indent=1), encoding="utf-8")


def _from_own(data: dict[str, Any]) -> Cameras:
    if data["version"] != OWN_VERSION:
        raise ExgsError(f"camera file version {data['version']}, this program reads {OWN_VERSION}; update it")
    views = data["cameras"]
    return Cameras(
        viewmats=np.array([v["cam_from_world"] for v in views], np.float64).reshape(-1, 4, 4),
        Ks=np.array([v["K"] for v in views], np.float64).reshape(-1, 3, 3),
        widths=np.array([v["width"] for v in views]),
        heights=np.array([v["height"] for v in views]),
        frames=np.array([v["frame"] for v in views]),
        names=tuple(safe_name(str(v["name"])) for v in views),
        camera_model=data["camera_model"],
        near_plane=float(data["near_plane"]),
        far_plane=float(data["far_plane"]),
    )


def _from_inria(data: list[dict[str, Any]]) -> Cameras:
    """``rotation`` is world_from_cam (rows of the matrix), ``position`` the centre; principal point centred."""
    world_from_cam = np.tile(np.eye(4), (len(data), 1, 1))
    for i, view in enumerate(data):
        world_from_cam[i, :3, :3] = view["rotation"]
        world_from_cam[i, :3, 3] = view["position"]
    widths = np.array([int(v["width"]) for v in data], np.int64)
    heights = np.array([int(v["height"]) for v in data], np.int64)
    Ks = np.zeros((len(data), 3, 3))
    Ks[:, 0, 0] = [v["fx"] for v in data]
    Ks[:, 1, 1] = [v["fy"] for v in data]
    Ks[:, 0, 2], Ks[:, 1, 2], Ks[:, 2, 2] = widths / 2, heights / 2, 1
    return Cameras(
        viewmats=np.linalg.inv(world_from_cam),
        Ks=Ks,
        widths=widths,
        heights=heights,
        frames=np.arange(len(data)),
        names=unique([safe_name(str(v.get("img_name", v.get("id", i)))) for i, v in enumerate(data)]),
        near_plane=INRIA_NEAR_PLANE,
        far_plane=FAR_PLANE,
    )


def _from_transforms(data: dict[str, Any]) -> Cameras:
    """``transform_matrix`` is world_from_cam with OpenGL axes; intrinsics per file or per frame."""
    frames = data["frames"]
    viewmats, Ks, sizes = [], [], []
    for frame in frames:
        both = {**data, **frame}
        viewmats.append(FLIP_YZ @ np.linalg.inv(np.array(frame["transform_matrix"], np.float64)))
        width, height = int(both["w"]), int(both["h"])
        fx = float(both["fl_x"]) if "fl_x" in both else width / (2 * np.tan(float(both["camera_angle_x"]) / 2))
        fy = float(both.get("fl_y", fx))
        cx, cy = float(both.get("cx", width / 2)), float(both.get("cy", height / 2))
        Ks.append([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        sizes.append((width, height))
    return Cameras(
        viewmats=np.array(viewmats).reshape(-1, 4, 4),
        Ks=np.array(Ks).reshape(-1, 3, 3),
        widths=np.array([s[0] for s in sizes], np.int64),
        heights=np.array([s[1] for s in sizes], np.int64),
        frames=np.arange(len(frames)),
        names=unique([safe_name(str(f.get("file_path", i))) for i, f in enumerate(frames)]),
        near_plane=NEAR_PLANE,
        far_plane=FAR_PLANE,
    )
