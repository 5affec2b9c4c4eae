"""What a network is (the IR), which networks there are (search spaces), and passes over them; numpy only."""

#: Search spaces by name; a YAML may also name its own `module:function`.
SPACES = {
    "lightnas": "search_spaces.lightnas:lightnas",
    "mobile": "search_spaces.mobile:mobile",
    "nasbench201": "search_spaces.nasbench201:nasbench201",
    "toy": "search_spaces.toy:toy",
}
