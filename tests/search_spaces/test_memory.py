"""Peak activation memory, worked out by hand: four bytes per float32 element, one sample."""

from __future__ import annotations

from search_spaces.ir import Builder


def test_a_residual_keeps_its_input_alive() -> None:
    b = Builder()
    image = b.input("image", (2, 4, 4))  #                      2 * 16 * 4 = 128
    x = b("conv", "a", image, filters=4, kernel=3)  #           4 * 16 * 4 = 256; with the image 384
    x = b("batch_norm", "a.bn", x)  #                           in place
    x = b("relu", "a.relu", x)  #                               in place; the image is gone
    y = b("conv", "b", x, filters=4, kernel=3)  #               256 + 256 = 512
    s = b("add", "sum", y, x)  #                                x, y and the sum: 768
    flat = b("reshape", "flat", s, shape=(64,))  #              a view
    answer = b("dense", "answer", flat, units=3)  #             256 + 12
    assert b.network(answer).peak_memory == 768


def test_squeeze_excite_keeps_the_map_while_the_gate_is_computed() -> None:
    b = Builder()
    image = b.input("image", (2, 4, 4))  #                      128
    x = b("conv", "a", image, filters=8, kernel=3)  #           512; with the image 640
    gate = b("global_pool", "pool", x)  #                       512 + 32
    gate = b("conv", "down", gate, filters=2, kernel=1)  #      512 + 32 + 8
    gate = b("relu", "relu", gate)  #                           in place
    gate = b("conv", "up", gate, filters=8, kernel=1)  #        512 + 8 + 32
    gate = b("hard_sigmoid", "gate", gate)  #                   in place
    scaled = b("mul", "scale", x, gate)  #                      512 + 32 + 512 = 1056
    assert b.network(b("global_pool", "answer", scaled)).peak_memory == 1056


def test_answers_of_early_exits_stay_until_the_end() -> None:
    b = Builder()
    image = b.input("image", (1, 8, 8))  #                      256
    x = b("conv", "a", image, filters=2, kernel=3, stride=2)  # 128; with the image 384
    head = b("global_pool", "exit0.pool", x)  #                 128 + 8
    head = b("reshape", "exit0.flat", head, shape=(2,))  #      a view
    early = b("dense", "exit0", head, units=100)  #             128 + 8 + 400
    x = b("conv", "b", x, filters=64, kernel=3)  #              400 + 128 + 4096 = 4624
    x = b("global_pool", "pool", x)  #                          400 + 4096 + 256 = 4752
    late = b("conv", "answer", x, filters=10, kernel=1)  #      400 + 256 + 40
    assert b.network(early, late).peak_memory == 4752


def test_an_answer_is_not_overwritten() -> None:
    b = Builder()
    early = b("dense", "early", b.input("features", (2,)), units=100)  # 8 + 400
    late = b("relu", "late", early)  #                                    400 + 400
    assert b.network(early, late).peak_memory == 800


def test_an_input_is_not_overwritten() -> None:
    b = Builder()
    assert b.network(b("relu", "answer", b.input("features", (10,)))).peak_memory == 80


def test_a_tensor_is_not_overwritten_while_another_reader_of_its_view_waits() -> None:
    b = Builder()
    x = b("dense", "x", b.input("features", (4,)), units=10)  #     16 + 40
    view = b("reshape", "view", x, shape=(10, 1, 1))
    active = b("relu", "active", view)  #                           40 + 40, though the view has one reader
    back = b("reshape", "back", active, shape=(10,))
    assert b.network(b("add", "sum", x, back)).peak_memory == 120


def test_a_view_is_no_reader_of_its_own() -> None:
    b = Builder()
    x = b("dense", "x", b.input("features", (1,)), units=10)  #     4 + 40
    view = b("reshape", "view", x, shape=(1, 2, 5))
    active = b("relu", "active", view)  #                            in place, through the view
    assert b.network(b("global_pool", "answer", active)).peak_memory == 44  # 40 + 4


def test_an_activation_read_once_costs_nothing_and_read_twice_its_size() -> None:
    def peak(both: bool) -> int:
        b = Builder()
        x = b("dense", "x", b.input("features", (1,)), units=10)  #        4 + 40
        y = b("relu", "y", x)  #                                           in place, or 40 + 40
        return b.network(b("add", "sum", y, x if both else y)).peak_memory  # and the sum

    assert peak(both=False) == 80
    assert peak(both=True) == 120
