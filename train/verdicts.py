"""What people conclude of a photo: five levels of quality and of beauty, each in many words.

The first phrase of a level is its prompt.
"""

from __future__ import annotations

QUALITY_WORDS: tuple[tuple[str, ...], ...] = (
    (
        "a photo of bad quality", "terrible quality", "an awful photo", "a technically terrible photo",
        "very low quality", "very poor image quality", "horrible quality", "an unusable photo", "a ruined photo",
        "completely spoiled", "one of the worst photos", "this is technically a failure", "badly degraded",
        "a heavily distorted image", "the quality is terrible", "the image quality is awful",
        "a photo to throw away", "severely degraded quality", "technically awful", "heavily damaged",
    ),
    (
        "a photo of poor quality", "low quality", "a poor photo", "below average quality", "a technically weak photo",
        "poor image quality", "not good enough", "a disappointing photo", "a low quality image", "a flawed photo",
        "the quality is poor", "technically poor", "degraded quality", "a distorted image", "it has obvious flaws",
        "an amateurish snapshot", "worse than most photos", "technically lacking", "substandard quality",
        "the image quality suffers",
    ),
    (
        "a photo of fair quality", "average quality", "an acceptable photo", "mediocre quality", "an okay photo",
        "so-so quality", "decent enough", "passable quality", "moderate quality", "neither good nor bad quality",
        "the quality is fair", "a photo of medium quality", "technically average", "usable, with some flaws",
        "it could be technically better", "a mediocre image", "tolerable quality", "ordinary image quality",
        "slightly degraded quality", "a minor loss of quality",
    ),
    (
        "a photo of good quality", "high quality", "a good photo", "above average quality", "a technically sound photo",
        "good image quality", "well taken", "a well executed photo", "a high quality image", "a solid photo",
        "the quality is good", "technically good", "well exposed and well focused", "better than most photos",
        "a clean image", "technically well done", "nice quality", "pretty good quality", "hardly any flaws",
        "a competently taken photo",
    ),
    (
        "a photo of excellent quality", "perfect quality", "an excellent photo", "superb image quality",
        "a technically perfect photo", "very high quality", "outstanding quality", "impeccable quality",
        "a flawless photo", "professional quality", "the quality is excellent", "technically excellent",
        "one of the best photos", "studio quality", "top quality", "no flaws at all", "a pristine image",
        "technically brilliant", "a photo of the highest quality", "exceptional clarity and quality",
    ),
)  # fmt: skip

BEAUTY_WORDS: tuple[tuple[str, ...], ...] = (
    (
        "a very ugly photo", "hideous", "a repulsive picture", "an extremely unattractive photo", "awful to look at",
        "a disgusting sight", "horrible composition", "an aesthetically terrible photo", "deeply unpleasant",
        "an eyesore", "repellent colors", "a thoroughly unappealing image", "visually offensive", "no beauty at all",
        "nothing about it is beautiful", "it hurts the eye", "very unpleasant mood", "aesthetically awful",
        "dismal and ugly", "a revolting image",
    ),
    (
        "an ugly photo", "unattractive", "dull and lifeless", "a boring picture", "an unappealing photo",
        "a bland composition", "a messy composition", "an aesthetically poor photo", "uninteresting light",
        "a cluttered composition", "dreary", "not pleasing to the eye", "a careless snapshot", "unpleasant colors",
        "it lacks interest", "drab and uninspired", "a distracting background", "it has no focal point",
        "a monotonous image", "a weak composition",
    ),
    (
        "an ordinary photo", "plain", "an average picture", "unremarkable", "neither beautiful nor ugly",
        "an everyday snapshot", "a common view", "ordinary composition", "an aesthetically average photo",
        "nothing special", "a simple documentary shot", "mediocre composition", "plain light", "it is merely okay",
        "a neutral mood", "an unexciting image", "a standard shot", "commonplace", "an ordinary mood",
        "it leaves the viewer indifferent",
    ),
    (
        "a beautiful photo", "pretty", "an attractive picture", "pleasing light", "a pleasing composition",
        "an appealing photo", "nice colors", "a lovely image", "harmonious colors", "well composed",
        "an aesthetically pleasing photo", "a pleasant mood", "a balanced composition", "a nice atmosphere",
        "it draws the viewer in", "an interesting composition", "beautiful light", "strong leading lines",
        "good use of color", "easy on the eye",
    ),
    (
        "a very beautiful photo", "stunning", "a gorgeous picture", "stunning composition", "breathtaking",
        "an exquisite photo", "magnificent light", "a masterpiece", "wonderful colors", "an aesthetically superb photo",
        "an enchanting mood", "spectacular", "a striking composition", "an award winning photo", "fine art photography",
        "absolutely beautiful", "superb light and color", "a perfectly balanced composition", "a dreamlike atmosphere",
        "it takes the breath away",
    ),
)  # fmt: skip
