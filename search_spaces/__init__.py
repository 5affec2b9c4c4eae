"""What a network is (the IR), which networks there are (search spaces), and passes over them; numpy only."""

#: Search spaces by name; a YAML may also name its own `module:function`.
SPACES = {
    "mobile": "search_spaces.mobile:mobile",
    "toy": "search_spaces.toy:toy",
}
