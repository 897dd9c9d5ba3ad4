"""Other words for the classes of the embedded model's training data, so that its text encoder knows synonyms."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "road": ("street", "roadway", "asphalt", "lane"),
    "sidewalk": ("pavement", "footpath", "walkway"),
    "building": ("house", "facade", "office building", "apartment building"),
    "wall": ("brick wall", "stone wall"),
    "fence": ("railing", "guard rail", "picket fence"),
    "pole": ("post", "lamp post", "column"),
    "traffic light": ("stop light", "traffic signal"),
    "traffic sign": ("sign", "road sign", "street sign", "sign symbol"),
    "vegetation": ("tree", "bush", "plants", "trees"),
    "terrain": ("grass", "lawn", "soil"),
    "sky": ("clouds", "blue sky"),
    "person": ("pedestrian", "human", "people", "walking person"),
    "rider": ("cyclist", "motorcyclist", "bicyclist"),
    "car": ("automobile", "sedan", "passenger car"),
    "truck": ("lorry", "delivery truck"),
    "bus": ("coach", "city bus"),
    "train": ("tram", "streetcar"),
    "motorcycle": ("motorbike", "scooter"),
    "bicycle": ("bike", "cycle"),
}
