"""The words for how a photo looks, as people and critics use them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """What is said of one look. Looks that are alike share words; each has at least one of its own."""

    adjectives: tuple[str, ...]  # "a {} photo", "the photo is {}"
    states: tuple[str, ...] = ()  # "the photo is {}" alone
    nouns: tuple[str, ...] = ()  # "a photo with {}"
    remarks: tuple[str, ...] = ()  # whole sentences; "{}" is for an adverb


FAULTS: dict[str, Words] = {
    "blur": Words(
        ("blurry", "out of focus", "unsharp", "soft", "blurred", "fuzzy", "poorly focused", "softly blurred"),
        ("lacking in sharpness", "not sharp", "short of crispness", "soft all over"),
        ("blur", "overall softness", "soft edges", "a lack of sharpness"),
        ("the focus is {} off", "the details are {} soft", "the whole image is {} soft", "edges are {} blurred"),
    ),
    "lens_blur": Words(
        ("defocused", "unfocused", "out of focus", "blurry", "misfocused", "unsharp"),
        ("lacking in focus", "not in focus", "out of focus all over", "lacking in sharpness"),
        ("missed focus", "lens blur", "focus blur", "blur", "wrong focus"),
        ("the focus is {} off", "the focus is {} missed", "the subject is {} out of focus"),
    ),
    "motion_blur": Words(
        ("shaky", "motion blurred", "blurry", "shaken", "streaked by motion", "smudged by motion"),
        ("blurred by movement", "blurred by camera shake", "not held still", "not sharp"),
        ("motion blur", "camera shake", "handshake blur", "movement blur", "motion trails"),
        ("the camera was {} shaken", "the shutter was {} too slow", "everything is {} smeared by movement"),
    ),
    "shallow": Words(
        ("shallow focus", "bokeh rich", "selectively focused", "narrowly focused"),
        ("shallow in depth of field", "rich in bokeh", "sharp only on its subject", "thrown out of focus around it"),
        ("shallow depth of field", "a soft background", "creamy bokeh", "a blurred background", "selective focus"),
        ("the background is {} blurred", "the background is {} out of focus", "the subject is {} set apart by focus"),
    ),
    "double": Words(
        ("ghosted", "double exposed", "doubled", "ghostly", "blurry"),
        ("seen twice", "doubled at the edges"),
        ("ghosting", "double contours", "a double image", "a ghost image", "double exposure"),
        ("every edge is {} doubled", "the contours are {} doubled"),
    ),
    "noise": Words(
        ("noisy", "grainy", "sandy", "gritty", "noise ridden"),
        ("full of grain", "covered in noise", "full of noise", "rough with grain", "spoiled by grain"),
        ("noise", "grain", "sensor noise", "high ISO noise", "digital noise", "film grain"),
        ("the noise is {} visible", "the grain is {} visible", "noise {} disturbs smooth areas"),
    ),
    "chroma_noise": Words(
        ("rainbow flecked", "confetti grained", "noisy", "color noisy", "color speckled"),
        ("full of colored grain", "covered in color noise"),
        ("color noise", "chroma noise", "colored grain", "rainbow specks", "red and green noise"),
        ("colored grain is {} visible", "color noise is {} visible"),
    ),
    "blotchy": Words(
        ("blotchy", "splotched", "stained", "color stained", "noisy"),
        ("covered in colored blotches", "stained with color"),
        ("color blotches", "colored stains", "blotches in the shadows", "uneven patches of color"),
        ("smooth areas are {} blotchy", "the colors are {} uneven"),
    ),
    "impulse": Words(
        ("peppered", "dotted", "noisy", "sprinkled with dots", "salted"),
        ("full of dead pixels", "covered in white and black dots"),
        ("salt and pepper noise", "dead pixels", "hot pixels", "black and white dots", "impulse noise"),
        ("single pixels are {} wrong", "stray dots are {} visible"),
    ),
    "speckle": Words(
        ("speckled", "mottled", "noisy", "grainy", "coarse grained"),
        ("covered in speckle", "grainy in bright areas"),
        ("speckle", "speckle noise", "mottling", "grain in the highlights"),
        ("bright areas are {} grainy", "the texture is {} mottled"),
    ),
    "smeared": Words(
        ("smeared", "waxy", "plastic looking", "overly smoothed", "painterly", "soft"),
        ("smoothed too much", "smeared by noise reduction", "robbed of texture", "soft in detail"),
        ("waxy skin", "smeared details", "noise reduction artifacts", "lost texture", "over smoothing"),
        ("fine texture is {} smeared", "noise reduction has {} eaten the detail", "surfaces look {} like plastic"),
    ),
    "low_light": Words(
        ("murky", "badly lit", "dimly lit", "dark and noisy", "poorly lit", "dark", "night time"),
        ("taken in too little light", "short of light", "lost in the dark"),
        ("poor light", "too little light", "dim lighting", "low light noise", "muddy shadows"),
        ("the lighting is {} poor", "the light is {} too low", "the light is {} weak"),
    ),
    "jpeg": Words(
        ("blocky", "compressed", "jpeg compressed", "overcompressed", "low bitrate", "artifact ridden"),
        ("full of compression artifacts", "saved at low quality", "full of jpeg artifacts", "damaged by compression"),
        ("jpeg artifacts", "compression artifacts", "blocking", "block artifacts", "mosquito noise", "8x8 blocks"),
        ("it is {} compressed", "compression blocks are {} visible", "the jpeg quality is {} low"),
    ),
    "jpeg2000": Words(
        ("rippled", "ringing", "compressed", "wavelet compressed", "overcompressed", "soft"),
        ("full of ringing", "damaged by compression", "full of compression artifacts", "rippled along its edges"),
        ("ringing", "ripples along edges", "compression artifacts", "wavelet artifacts", "ringing artifacts"),
        ("edges are {} rippled", "compression has {} washed away the texture"),
    ),
    "webp": Words(
        ("smudged", "macroblocked", "compressed", "webp compressed", "overcompressed", "low bitrate"),
        ("smudged by compression", "full of compression artifacts", "saved at low quality", "damaged by compression"),
        ("webp artifacts", "compression artifacts", "smudged texture", "macroblocks", "blocking"),
        ("it is {} compressed", "fine texture is {} smudged by compression"),
    ),
    "avif": Words(
        ("avif compressed", "compressed", "overcompressed", "low bitrate", "smoothed by compression", "soft"),
        ("full of compression artifacts", "flattened by compression", "damaged by compression", "starved of bits"),
        ("avif artifacts", "compression artifacts", "texture lost to compression", "flattened texture"),
        ("it is {} compressed", "compression has {} flattened the texture"),
    ),
    "heic": Words(
        ("heic compressed", "compressed", "overcompressed", "low bitrate", "video compressed", "blocky"),
        ("full of compression artifacts", "compressed like a video", "damaged by compression", "starved of bits"),
        ("hevc artifacts", "compression artifacts", "video compression artifacts", "coarse coding blocks", "blocking"),
        ("it is {} compressed", "it looks {} like a frame of a compressed video"),
    ),
    "color_bleed": Words(
        ("color bleeding", "watercolored", "smeared in color", "bleeding"),
        ("bleeding color over its edges", "soft in color"),
        ("color bleeding", "colors that run", "chroma smearing", "colors that spill over edges"),
        ("the colors {} bleed into each other", "colors {} spill over edges"),
    ),
    "color_shift": Words(
        ("fringed", "misregistered", "color fringed", "misaligned in color"),
        ("fringed with color", "split into colors at its edges"),
        ("color fringing", "chromatic aberration", "purple fringing", "colored edges", "misaligned channels"),
        ("edges are {} fringed with color", "the color channels are {} misaligned"),
    ),
    "posterized": Words(
        ("posterized", "coarsely toned", "reduced in tones", "poster like"),
        ("short of tones", "reduced to few tones", "broken into flat areas of color"),
        ("posterization", "too few tones", "abrupt steps of color", "flat areas of color"),
        ("the tones are {} posterized", "gradients {} break into steps"),
    ),
    "dithered": Words(
        ("dithered", "stippled", "gif like", "limited in colors"),
        ("short of colors", "made of few colors", "made of colored dots"),
        ("dithering", "too few colors", "a limited palette of dots", "a dither pattern"),
        ("the colors are {} dithered", "dot patterns are {} visible"),
    ),
    "pale": Words(
        ("pale", "colorless", "desaturated", "faded", "washed out in color", "muted", "drab"),
        ("lacking in color", "short of color", "drained of color", "low in saturation", "faint in color"),
        ("faded colors", "pale colors", "dull colors", "low saturation", "muted colors", "weak colors"),
        ("the colors are {} faded", "the colors are {} dull", "the saturation is {} low"),
    ),
    "garish": Words(
        ("garish", "oversaturated", "too colorful", "gaudy", "lurid", "overcooked"),
        ("too saturated", "too strong in color", "loud in color"),
        ("garish colors", "oversaturated colors", "unnatural colors", "excessive saturation", "loud colors"),
        ("the colors are {} oversaturated", "the saturation is {} overdone", "the colors are {} too strong"),
    ),
    "tinted": Words(
        ("tinted", "miscolored", "color cast", "off color", "unnaturally colored"),
        ("off in white balance", "tinted in one color", "wrong in color"),
        ("a color cast", "wrong white balance", "unnatural colors", "a colored tint", "an odd tint"),
        ("the white balance is {} off", "the colors are {} off", "the color cast is {} visible"),
    ),
    "warm": Words(
        ("yellowish", "amber", "warm", "warm toned", "orange tinted", "too warm"),
        ("warm in tone", "too yellow", "warm in white balance"),
        ("a warm cast", "a yellow cast", "an orange tint", "warm tones", "warm colors", "a color cast"),
        ("the white balance is {} warm", "the colors are {} warm", "the white balance is {} off"),
    ),
    "cold": Words(
        ("bluish", "icy", "cold", "cool toned", "blue tinted", "too cold"),
        ("cold in tone", "too blue", "cool in white balance"),
        ("a cold cast", "a blue cast", "a blue tint", "cold tones", "cool colors", "a color cast"),
        ("the white balance is {} cold", "the colors are {} cool", "the white balance is {} off"),
    ),
    "bright": Words(
        ("washed out", "overlit", "too bright", "pale and bright", "overly bright", "overexposed"),
        ("too light", "too bright in its shadows", "lifted in its shadows", "bleached"),
        ("excessive brightness", "lifted shadows", "washed out tones", "too much brightness"),
        ("the image is {} too bright", "the tones are {} washed out"),
    ),
    "dark": Words(
        ("dark", "gloomy", "too dark", "darkened", "dim", "underexposed"),
        ("short of brightness", "on the dark side", "dark all over"),
        ("darkness", "dim tones", "too little brightness", "gloom"),
        ("the image is {} too dark", "everything is {} dark"),
    ),
    "underexposed": Words(
        ("underexposed", "drowned in shadow", "too dark", "dark", "poorly exposed", "badly exposed"),
        ("lost in its shadows", "blocked up in the shadows", "short of light", "not exposed enough"),
        ("underexposure", "crushed shadows", "blocked up shadows", "lost shadow detail", "bad exposure"),
        ("the shadows are {} crushed", "the exposure is {} too low", "it is {} underexposed", "the exposure is {} off"),
    ),
    "overexposed": Words(
        ("overexposed", "blown out", "too bright", "burnt out", "poorly exposed", "badly exposed"),
        ("clipped in the highlights", "lost in its highlights", "too light", "exposed too long"),
        ("overexposure", "blown highlights", "clipped highlights", "burnt out highlights", "lost highlight detail",
         "bad exposure"),
        ("the highlights are {} blown out", "the exposure is {} too high", "the sky is {} burnt out",
         "the exposure is {} off"),
    ),
    "shifted": Words(
        ("misleveled", "shifted in tone", "poorly exposed", "wrongly leveled"),
        ("off in its levels", "shifted in brightness"),
        ("wrong levels", "shifted tones", "a wrong black point", "a wrong white point"),
        ("the levels are {} off", "the black point is {} wrong"),
    ),
    "flat": Words(
        ("flat", "low contrast", "dull", "grey", "lifeless", "contrastless"),
        ("lacking in contrast", "short of contrast", "flat in tone", "without punch"),
        ("low contrast", "flat tones", "flat lighting", "weak contrast", "dull tones", "a lack of contrast"),
        ("the contrast is {} low", "the tones are {} flat", "the light is {} flat"),
    ),
    "harsh": Words(
        ("harsh", "stark", "overly contrasty", "hard lit", "high contrast", "too contrasty"),
        ("too strong in contrast", "harsh in contrast", "hard in tone"),
        ("harsh contrast", "harsh light", "hard shadows", "excessive contrast", "harsh shadows", "stark tones"),
        ("the contrast is {} harsh", "the light is {} harsh", "the contrast is {} overdone"),
    ),
    "hazy": Words(
        ("hazy", "foggy", "misty", "veiled", "milky", "low contrast"),
        ("covered by haze", "behind a veil", "lost in fog", "lacking in contrast"),
        ("haze", "fog", "a milky veil", "mist", "atmospheric haze", "veiling flare"),
        ("the view is {} hazy", "a veil {} covers the scene", "the air is {} hazy"),
    ),
    "vignetted": Words(
        ("vignetted", "shaded at the corners", "dark cornered", "unevenly lit"),
        ("dark at the corners", "darker towards its edges"),
        ("vignetting", "dark corners", "a dark vignette", "light fall-off", "darkened edges"),
        ("the corners are {} dark", "the edges are {} darkened", "the vignette is {} strong"),
    ),
    "banded": Words(
        ("banded", "terraced", "posterized", "stepped in tone"),
        ("full of banding", "striped in smooth areas"),
        ("banding", "color banding", "bands in the sky", "steps in smooth gradients", "contour lines"),
        ("smooth gradients are {} banded", "the sky is {} banded", "gradients {} break into steps"),
    ),
    "upscaled": Words(
        ("upscaled", "low resolution", "enlarged", "blurry", "soft", "low res"),
        ("blown up from a small file", "short of resolution", "enlarged too far", "lacking in sharpness"),
        ("low resolution", "too few pixels", "upscaling blur", "interpolation blur", "too little resolution"),
        ("the resolution is {} low", "it is {} enlarged from a small image", "fine detail is {} missing"),
    ),
    "pixelate": Words(
        ("pixelated", "jagged", "pixelised", "low resolution", "low res", "coarse"),
        ("made of big pixels", "jagged at the edges", "short of resolution"),
        ("pixelation", "big square pixels", "jagged edges", "jaggies", "stair-stepped edges", "low resolution"),
        ("single pixels are {} visible", "edges are {} jagged", "the resolution is {} low"),
    ),
    "jittered": Words(
        ("jittered", "scrambled", "frosted", "crumbled"),
        ("seen through frosted glass", "broken up at its edges"),
        ("pixel jitter", "scattered pixels", "crumbled edges", "a frosted glass effect"),
        ("edges are {} crumbled", "pixels are {} scattered"),
    ),
    "patched": Words(
        ("patchy", "glitched", "corrupted", "broken"),
        ("full of glitches", "damaged by errors", "partly misplaced"),
        ("glitches", "misplaced patches", "transmission errors", "misplaced squares", "corrupted blocks"),
        ("small patches are {} out of place", "it is {} glitched"),
    ),
    "blocked": Words(
        ("occluded", "blocked out", "covered by blocks", "defaced"),
        ("hidden behind colored squares", "partly covered"),
        ("colored blocks", "missing blocks", "plain squares over it", "covered parts"),
        ("colored squares {} hide the picture", "parts are {} covered"),
    ),
    "oversharpened": Words(
        ("oversharpened", "overly crisp", "overprocessed", "too sharp", "crunchy", "harshly sharpened"),
        ("sharpened too much", "too crisp"),
        ("oversharpening", "sharpening artifacts", "harsh edges", "too much sharpening", "crunchy detail"),
        ("the sharpening is {} overdone", "edges are {} oversharpened", "the processing is {} overdone"),
    ),
    "haloed": Words(
        ("haloed", "outlined", "overprocessed", "fake hdr", "glowing at its edges"),
        ("surrounded by halos", "haloed at its edges"),
        ("halos", "halos around edges", "bright outlines", "glowing edges", "tone mapping halos"),
        ("edges {} glow", "halos are {} visible around edges", "the processing is {} overdone"),
    ),
}  # fmt: skip

CLEAN = Words(
    ("clean and sharp", "sharp and clear", "undistorted", "sharp", "crisp", "tack sharp", "finely detailed", "pristine",
     "well focused", "in focus", "clean", "pin sharp", "crystal clear", "noise-free", "flawless", "razor sharp",
     "high resolution", "high definition", "clear", "properly focused"),
    ("free of artifacts", "sharp throughout", "free of noise", "sharp where it should be", "full of fine detail",
     "without visible faults", "rich in detail", "technically flawless", "sharp from edge to edge", "true to life"),
    ("fine detail", "excellent sharpness", "spot on focus", "crisp detail", "accurate focus", "clean edges",
     "no artifacts", "no visible noise", "perfect focus", "clear detail", "lossless quality", "great clarity"),
    ("the focus is spot on", "the focus looks perfect", "everything is sharp", "the details are crisp",
     "the focus is exactly where it should be", "every detail can be seen", "there is no noise",
     "nothing is wrong with its quality"),
)  # fmt: skip

# attribute: thresholds of its measurement, and the words for very low, low, (nothing), high, very high
MEASURED: dict[str, tuple[tuple[float, ...], tuple[tuple[str, ...], ...]]] = {
    "brightness": (
        (50, 85, 150, 185),
        (
            ("very dark", "extremely dim", "nearly black", "very low in brightness", "low key"),
            ("dark", "dim", "darkish", "low in brightness", "darker than most"),
            (),
            ("bright", "well lit", "light", "brightly lit", "high in brightness", "luminous"),
            ("very bright", "extremely bright", "high key", "glaring", "very light", "dazzling"),
        ),
    ),
    "colorfulness": (
        (12, 25, 60, 85),
        (
            ("almost colorless", "monochrome", "black and white", "nearly grey", "free of color", "greyscale"),
            ("muted", "subdued in color", "low in color", "sober in color", "restrained in color", "soft in color"),
            (),
            ("colorful", "vivid", "vibrant", "rich in color", "saturated", "lively in color"),
            ("very colorful", "very vivid", "intensely colored", "very vibrant", "highly saturated",
             "bursting with color"),
        ),
    ),
    "contrast": (
        (28, 42, 70, 82),
        (
            ("very flat", "very low in contrast", "almost without contrast", "extremely flat"),
            ("low contrast", "flat", "soft in contrast", "gentle in contrast"),
            (),
            ("contrasty", "strong in contrast", "punchy", "bold in contrast", "rich in contrast"),
            ("high contrast", "very contrasty", "very strong in contrast", "stark in contrast", "dramatic in contrast"),
        ),
    ),
    "sharpness": (
        (-1.8, -1.1, 0.1, 0.4),
        (
            ("almost without detail", "very smooth in detail", "nearly free of detail"),
            ("short of detail", "low in detail", "plain in texture", "sparse in detail"),
            (),
            ("detailed", "rich in texture", "full of detail", "finely textured"),
            ("very detailed", "intricate", "extremely detailed", "dense with detail", "very rich in texture"),
        ),
    ),
    "noisiness": (
        (0.15, 0.35, 5, 9),
        (
            ("very smooth", "perfectly smooth", "silky smooth"),
            ("smooth", "even", "smoothly toned"),
            (),
            ("rough", "coarse in texture", "rough in texture"),
            ("very rough", "very coarse in texture", "extremely rough"),
        ),
    ),
}  # fmt: skip
