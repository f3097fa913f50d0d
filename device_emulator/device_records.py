"""The structures of furiosa_ep.h that are about devices, for ctypes."""

import ctypes
from typing import Any

_Texts = ctypes.POINTER(ctypes.c_char_p)


class CardRecord(ctypes.Structure):
    """furiosa_card of furiosa_ep.h."""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("dram_bytes", ctypes.c_uint64),
        ("keys", _Texts),
        ("values", _Texts),
        ("metadata_count", ctypes.c_size_t),
    ]


class DeviceFileRecord(ctypes.Structure):
    """furiosa_device_file of furiosa_ep.h."""

    _fields_ = [
        ("card", ctypes.c_uint32),
        ("first_pe", ctypes.c_uint32),
        ("last_pe", ctypes.c_uint32),
    ]


class CountersRecord(ctypes.Structure):
    """furiosa_counters of furiosa_ep.h."""

    _fields_ = [
        ("executions", ctypes.c_uint64),
        ("cycles", ctypes.c_uint64),
        ("compute_cycles", ctypes.c_uint64),
        ("dma_cycles", ctypes.c_uint64),
        ("io_cycles", ctypes.c_uint64),
        ("bytes_in", ctypes.c_uint64),
        ("bytes_out", ctypes.c_uint64),
        ("failures", ctypes.c_uint64),
    ]


class PeRecord(ctypes.Structure):
    """furiosa_pe of furiosa_ep.h."""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("health", ctypes.c_uint32),
        ("resets", ctypes.c_uint32),
        ("hold", ctypes.c_uint32),
        ("holder", ctypes.c_int64),
        ("armed", ctypes.c_uint32 * 6),
        ("struck", ctypes.c_uint64 * 6),
        ("counters", CountersRecord),
    ]


class ClientRecord(ctypes.Structure):
    """furiosa_client of furiosa_ep.h."""

    _fields_ = [
        ("slot", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("pid", ctypes.c_int64),
        ("started", ctypes.c_uint64),
        ("command", ctypes.c_char * 256),
    ]


class UsageRecord(ctypes.Structure):
    """furiosa_usage of furiosa_ep.h."""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("hold", ctypes.c_uint32),
        ("dram_bytes", ctypes.c_uint64),
        ("counters", CountersRecord),
    ]


_Cards = ctypes.POINTER(CardRecord)
_Pointers = ctypes.POINTER(ctypes.c_void_p)
_Words = ctypes.POINTER(ctypes.c_uint64)
_Pe: list[Any] = [ctypes.c_uint32, ctypes.c_uint32]

PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "furiosa_cards_configure": (ctypes.c_int, [ctypes.c_char_p, _Cards, ctypes.c_size_t]),
    "furiosa_card_count": (ctypes.c_size_t, []),
    "furiosa_host_directory": (ctypes.c_int, [ctypes.c_char_p, ctypes.c_size_t]),
    "furiosa_device_open": (
        ctypes.c_int,
        [ctypes.POINTER(DeviceFileRecord), ctypes.c_size_t, ctypes.c_uint32, _Pointers],
    ),
    "furiosa_device_close": (None, [ctypes.c_void_p]),
    "furiosa_program_place": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, _Pointers]),
    "furiosa_placement_free": (None, [ctypes.c_void_p]),
    "furiosa_placement_run": (
        ctypes.c_int,
        [
            *[ctypes.c_void_p, _Pointers, ctypes.c_size_t, _Pointers, ctypes.c_size_t],
            ctypes.c_double,
        ],
    ),
    "furiosa_fault_inject": (
        ctypes.c_int,
        [*_Pe, ctypes.c_int, ctypes.c_uint32, ctypes.c_uint32],
    ),
    "furiosa_faults_clear": (ctypes.c_int, [*_Pe, ctypes.c_uint32]),
    "furiosa_pe_reset": (ctypes.c_int, _Pe),
    "furiosa_pe_status": (ctypes.c_int, [*_Pe, ctypes.POINTER(PeRecord)]),
    "furiosa_clients": (
        ctypes.c_int,
        [ctypes.POINTER(ClientRecord), ctypes.c_size_t, ctypes.POINTER(ctypes.c_size_t)],
    ),
    "furiosa_client_usage": (
        ctypes.c_int,
        [ctypes.c_uint32, *_Pe, ctypes.POINTER(UsageRecord)],
    ),
    "furiosa_card_thermal": (ctypes.c_int, [ctypes.c_uint32, _Words, ctypes.c_size_t]),
    "furiosa_card_exchange_thermal": (
        ctypes.c_int,
        [ctypes.c_uint32, _Words, _Words, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int32)],
    ),
}
"""Result and arguments of every function that is about devices."""
