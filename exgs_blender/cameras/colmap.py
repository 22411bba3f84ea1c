# SPDX-License-Identifier: GPL-3.0-or-later
"""COLMAP's sparse models: ``cameras`` and ``images`` as text or binary (COLMAP documentation, "Output Format").

``images`` holds cam_from_world with OpenCV axes: a quaternion wxyz and a translation. Pixel (0, 0) is the corner, as here.
Lens distortion is not used: captures are trained on undistorted photos.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..atomic import atomic_path
from ..errors import FileError
from .cameras import F64, FAR_PLANE, NEAR_PLANE, Cameras
from .names import safe_name, unique

HINT = "Give the folder with COLMAP's cameras and images (.bin or .txt), usually sparse/0"
SUBFOLDERS = ("", "sparse/0", "sparse", "0")
MODELS = {  # id in binary files -> name, parameters, of which so many are focal lengths
    0: ("SIMPLE_PINHOLE", 3, 1),
    1: ("PINHOLE", 4, 2),
    2: ("SIMPLE_RADIAL", 4, 1),
    3: ("RADIAL", 5, 1),
    4: ("OPENCV", 8, 2),
    6: ("FULL_OPENCV", 12, 2),
}
FISHEYES = {5: "OPENCV_FISHEYE", 7: "FOV", 8: "SIMPLE_RADIAL_FISHEYE", 9: "RADIAL_FISHEYE", 10: "THIN_PRISM_FISHEYE"}
POINT_BYTES = 24
MOST_NAME_BYTES = 4096


@dataclass(frozen=True)
class _Lens:
    width: int
    height: int
    K: F64


@dataclass(frozen=True)
class _Image:
    quat: tuple[float, ...]
    translation: tuple[float, ...]
    camera: int
    name: str


def is_colmap(path: Path) -> bool:
    """Whether a path is a file of a COLMAP model, or a folder that has one (also in ``sparse/0``)."""
    return _folder(path) is not None


def read_colmap(path: Path) -> Cameras:
    """All posed images of a model, by name.

    Args:
        path: the model's folder, one above it (with ``sparse/0``), or one of its files.

    Raises:
        FileError: missing, truncated, of an unknown or fisheye camera model, an image without its camera; names file and field.
    """
    folder = _folder(path)
    if folder is None:
        raise FileError(path, "no COLMAP model", HINT)
    binary = (folder / "cameras.bin").is_file() and (folder / "images.bin").is_file()
    lenses = _cameras_bin(folder / "cameras.bin") if binary else _cameras_txt(folder / "cameras.txt")
    source = folder / ("images.bin" if binary else "images.txt")
    images = sorted(_images_bin(source) if binary else _images_txt(source), key=lambda image: image.name)
    if not images:
        raise FileError(source, "holds no cameras: no image has a pose", HINT)
    for image in images:
        if image.camera not in lenses:
            raise FileError(source, f"image '{image.name[:80]}' has camera {image.camera}, which the cameras file lacks", HINT)
    return Cameras(
        viewmats=np.stack([_viewmat(source, image) for image in images]),
        Ks=np.stack([lenses[image.camera].K for image in images]),
        widths=np.array([lenses[image.camera].width for image in images]),
        heights=np.array([lenses[image.camera].height for image in images]),
        frames=np.arange(len(images)),
        names=unique([safe_name(image.name) for image in images]),
        near_plane=NEAR_PLANE,
        far_plane=FAR_PLANE,
    )


def write_colmap(folder: Path, cameras: Cameras) -> None:
    """A model as text: PINHOLE cameras, one an image, and no points.

    Raises:
        FileError: the folder cannot be written, or the views are orthographic.
    """
    if cameras.camera_model != "pinhole":
        raise FileError(folder, "COLMAP has no orthographic cameras", "Write transforms.json or our own camera file")
    lenses = ["# CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"]
    images = ["# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME; a line of POINTS2D[] after each"]
    for i, (viewmat, K) in enumerate(zip(cameras.viewmats, cameras.Ks, strict=True)):
        size = np.cbrt(np.linalg.det(viewmat[:3, :3]))
        quat = _quat_from_matrix(viewmat[:3, :3] / size)
        numbers = " ".join(repr(float(x)) for x in (*quat, *(viewmat[:3, 3] / size)))
        parameters = " ".join(repr(float(x)) for x in (K[0, 0], K[1, 1], K[0, 2], K[1, 2]))
        lenses.append(f"{i + 1} PINHOLE {cameras.widths[i]} {cameras.heights[i]} {parameters}")
        images += [f"{i + 1} {numbers} {i + 1} {cameras.names[i]}.png", ""]
    for name, lines in (("cameras.txt", lenses), ("images.txt", images), ("points3D.txt", ["# no points"])):
        with atomic_path(folder / name) as part:
            part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _folder(path: Path) -> Path | None:
    start = path if path.is_dir() else path.parent
    if not path.is_dir() and path.name not in ("cameras.bin", "cameras.txt", "images.bin", "images.txt"):
        return None
    for name in SUBFOLDERS:
        folder = start / name
        if any((folder / f"cameras{s}").is_file() and (folder / f"images{s}").is_file() for s in (".bin", ".txt")):
            return folder
    return None


def _lens(path: Path, model: str, width: int, height: int, parameters: list[float]) -> _Lens:
    known = {name: (count, focal) for name, count, focal in MODELS.values()}
    if model not in known:
        kind = "a fisheye" if model in FISHEYES.values() else "an unknown"
        raise FileError(path, f"camera model '{model[:40]}' is {kind} one", "Undistort the photos first (COLMAP's image_undistorter)")
    count, focal = known[model]
    if len(parameters) != count:
        raise FileError(path, f"camera model {model} has {len(parameters)} parameters, expected {count}", HINT)
    fx, fy = parameters[0], parameters[focal - 1]
    cx, cy = parameters[focal], parameters[focal + 1]
    if width < 1 or height < 1 or not (np.isfinite(parameters).all() and fx > 0 and fy > 0):
        raise FileError(path, f"a camera has size {width} x {height} and focal lengths {fx:g}, {fy:g}; all must be positive", HINT)
    return _Lens(width, height, np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]))


def _viewmat(path: Path, image: _Image) -> F64:
    quat = np.array(image.quat)
    length = np.linalg.norm(quat)
    if not (np.isfinite(quat).all() and np.isfinite(image.translation).all() and length > 0):
        raise FileError(path, f"image '{image.name[:80]}' has a pose that is no rotation and translation", HINT)
    w, x, y, z = quat / length
    viewmat = np.eye(4)
    viewmat[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    viewmat[:3, 3] = image.translation
    return viewmat


def _quat_from_matrix(matrix: F64) -> F64:
    """[3, 3] rotation -> wxyz with w >= 0: the eigenvector of the largest eigenvalue (Bar-Itzhack 2000)."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    form = np.array(
        [
            [a + e + i, h - f, c - g, d - b],
            [h - f, a - e - i, b + d, c + g],
            [c - g, b + d, e - a - i, f + h],
            [d - b, c + g, f + h, i - a - e],
        ]
    )
    quat: F64 = np.linalg.eigh(form)[1][:, -1]
    return quat if quat[0] >= 0 else -quat


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(path, f"cannot be read as text ({error})", HINT) from error


def _cameras_txt(path: Path) -> dict[int, _Lens]:
    found = {}
    for number, line in enumerate(_lines(path), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            identity, model, width, height = int(words[0]), words[1], int(words[2]), int(words[3])
            parameters = [float(word) for word in words[4:]]
        except (ValueError, IndexError):
            raise FileError(path, f"line {number}: expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS, found '{line[:80]}'", HINT) from None
        found[identity] = _lens(path, model, width, height, parameters)
    return found


def _images_txt(path: Path) -> Iterator[_Image]:
    """Two lines an image, of which the second (its points, possibly none) is of no use here."""
    points = False
    for number, line in enumerate(_lines(path), 1):
        if line.startswith("#"):
            continue
        if points:
            points = False
            continue
        if not line.strip():
            continue
        words = line.split(maxsplit=9)
        try:
            numbers = [float(word) for word in words[1:8]]
            image = _Image(tuple(numbers[:4]), tuple(numbers[4:7]), int(words[8]), words[9])
        except (ValueError, IndexError):
            expected = "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"
            raise FileError(path, f"line {number}: expected {expected}, found '{line[:80]}'", HINT) from None
        points = True
        yield image


class _Bytes:
    """Little-endian values, one after the other; what is missing is named."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._data = path.read_bytes()
        except OSError as error:
            raise FileError(path, f"cannot be read ({error.strerror})", HINT) from error
        self._at = 0

    def take(self, layout: str, what: str) -> tuple[float, ...]:
        size = struct.calcsize("<" + layout)
        self.need(size, what)
        values = struct.unpack_from("<" + layout, self._data, self._at)
        self._at += size
        return values

    def need(self, size: int, what: str) -> None:
        if self._at + size > len(self._data):
            raise FileError(self._path, f"ends within {what} (byte {len(self._data)})", "Copy the file again")

    def skip(self, size: int, what: str) -> None:
        self.need(size, what)
        self._at += size

    def text(self, what: str) -> str:
        end = self._data.find(b"\0", self._at, self._at + MOST_NAME_BYTES)
        if end < 0:
            raise FileError(self._path, f"ends within {what}, or it is longer than {MOST_NAME_BYTES} bytes", "Copy the file again")
        value = self._data[self._at : end].decode("utf-8", "replace")
        self._at = end + 1
        return value


def _cameras_bin(path: Path) -> dict[int, _Lens]:
    data = _Bytes(path)
    found = {}
    for i in range(int(data.take("Q", "the number of cameras")[0])):
        identity, model, width, height = (int(x) for x in data.take("iiQQ", f"camera {i}"))
        if model not in MODELS:
            raise FileError(
                path, f"camera {i}: model {model} ({FISHEYES.get(model, 'unknown')}) cannot be used", "Undistort the photos first"
            )
        name, count, _ = MODELS[model]
        found[identity] = _lens(path, name, width, height, list(data.take(f"{count}d", f"the parameters of camera {i}")))
    return found


def _images_bin(path: Path) -> Iterator[_Image]:
    data = _Bytes(path)
    for i in range(int(data.take("Q", "the number of images")[0])):
        values = data.take("I7dI", f"image {i}")
        name = data.text(f"the name of image {i}")
        points = int(data.take("Q", f"the number of points of image {i}")[0])
        data.skip(points * POINT_BYTES, f"the points of image {i}")
        yield _Image(values[1:5], values[5:8], int(values[8]), name)
