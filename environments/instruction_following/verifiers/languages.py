"""The thirty languages of the published rows and two more: names, scripts, function words, one sentence each."""

from __future__ import annotations

_LATIN, _CYRILLIC, _ARABIC, _DEVANAGARI = ("LATIN",), ("CYRILLIC",), ("ARABIC",), ("DEVANAGARI",)

SCRIPTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("en", "es", "pt", "fr", "de", "it", "vi", "sw", "pl", "fi"), _LATIN),
    **dict.fromkeys(("ru", "bg", "uk"), _CYRILLIC),
    **dict.fromkeys(("ar", "ur", "fa"), _ARABIC),
    **dict.fromkeys(("hi", "ne", "mr"), _DEVANAGARI),
    "zh": ("CJK",),
    "ja": ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"),
    "ko": ("HANGUL",),
    "th": ("THAI",),
    "he": ("HEBREW",),
    "el": ("GREEK",),
    "bn": ("BENGALI",),
    "ta": ("TAMIL",),
    "te": ("TELUGU",),
    "kn": ("KANNADA",),
    "gu": ("GUJARATI",),
    "pa": ("GURMUKHI",),
    "ml": ("MALAYALAM",),
}
"""First words of the Unicode names of a language's letters, by ISO 639-1 code."""

FUNCTION_WORDS: dict[str, str] = {
    "en": "the and of to in is that it was for on are with as his they be at this have from or had by not but what all "
    "were when your can said there an which she do how their if will you he we my has more",
    "es": "el la los las de que y en un una es por con para su se del al lo como más pero sus le ya este muy sin está "
    "porque cuando también hay",
    "pt": "o a os as de que e em um uma é por com para seu se do da no na ao como mais mas não foi muito sem está "
    "porque quando também há isso",
    "fr": "le la les de des et en un une est que qui dans pour sur pas au du avec ce cette il elle nous vous mais sont "
    "par plus ne se leur être",
    "de": "der die das und ist in den von zu mit sich des auf für nicht ein eine dem im als auch es an werden aus er "
    "hat dass sie nach wird bei wir ich",
    "it": "il lo la gli le di che e un una è per con non si del della nel da sono come più ma anche questo alla dei al "
    "ha molto perché quando",
    "vi": "là của và có không được trong một các cho người với này những đã khi đến để trên từ ở nhưng cũng",
    "sw": "na ya wa kwa ni katika za la cha kuwa hii huu yake sana kama lakini pia hiyo watu wake nyumba iko",
    "pl": "i w nie na się z do to że jest jak o ale za od po są tym dla przez przy ten jego tylko który już lub",
    "fi": "ja on ei se että hän oli en mutta kun niin ovat myös tai joka mitä nyt kuin jos vain tämä sen mukana",
    "ru": "и в не на я что с по это как он из к у за от но они мы вы был была есть для его или все этот так",
    "bg": "и в не на се да от за с е по са ще като това той но са има си съм или че към при този къщата много",
    "uk": "і в не на з що у це як до та він є за по але вони ми ви був його або все цей так й від для",
    "ar": "في من على إلى أن هذا هذه التي الذي كان مع عن لا ما هو هي و كل بعد قبل لكن",
    "ur": "کے کی ہے میں اور کا کو سے پر یہ کہ نہیں ہیں تھا بھی اس نے ایک کر تو پہاڑی",
    "fa": "و در به از که این را با است برای آن یک خود تا کرد بر هم نیز می های شده روی",
    "hi": "के है में की और का को से पर यह कि नहीं हैं था भी इस ने एक कर तो हो था वह",
    "ne": "छ र को मा हो लागि यो पनि गर्न भएको थियो छन् एक गरेको तर हुन् भन्ने लाई छैन",
    "mr": "आहे आणि या ते हा ही होते नाही तर पण मध्ये आहेत त्या एक वर की हे झाले असे",
}
"""Commonest short words, where a script does not tell the language by itself."""

NAMES: dict[str, str] = {
    "en": "English", "es": "Spanish", "pt": "Portuguese", "ar": "Arabic", "hi": "Hindi", "fr": "French",
    "ru": "Russian", "de": "German", "ja": "Japanese", "it": "Italian", "bn": "Bengali", "uk": "Ukrainian",
    "th": "Thai", "ur": "Urdu", "ta": "Tamil", "te": "Telugu", "bg": "Bulgarian", "ko": "Korean", "pl": "Polish",
    "he": "Hebrew", "fa": "Persian", "vi": "Vietnamese", "ne": "Nepali", "sw": "Swahili", "kn": "Kannada",
    "mr": "Marathi", "gu": "Gujarati", "pa": "Punjabi", "ml": "Malayalam", "fi": "Finnish", "zh": "Chinese",
    "el": "Greek",
}  # fmt: skip

SAMPLES: dict[str, str] = {
    "en": "The house is on the hill and it was built by my father.",
    "es": "La casa está en la colina y es muy grande para los niños.",
    "pt": "A casa não é muito grande, mas está em uma colina com o jardim.",
    "fr": "La maison est sur la colline et elle est très belle avec ce jardin.",
    "de": "Das Haus steht auf dem Hügel und es ist nicht sehr groß.",
    "it": "Questa casa è sulla collina, ma non è molto grande per gli amici.",
    "vi": "Ngôi nhà này ở trên đồi và có một khu vườn của người già.",
    "sw": "Nyumba hii iko katika mlima na ni ya watu wake.",
    "pl": "To jest dom, który nie jest duży, ale się podoba.",
    "fi": "Talo on mäellä ja se ei ole suuri, mutta hän asuu siellä.",
    "ru": "Этот дом был на холме, и он есть для всех, кто как мы.",
    "bg": "Къщата е на хълма и това не е много, но има градина, че да се радвам.",
    "uk": "Цей дім є на пагорбі, і він не великий, але це та хата, що ми любимо.",
    "ar": "هذا البيت في المدينة وهو كبير، لكن كل من كان في البيت هو صديق.",
    "ur": "یہ گھر پہاڑی پر ہے اور اس میں ایک باغ بھی ہے۔",
    "fa": "این خانه در شهر است و برای آن یک باغ از سنگ را ساخته است.",
    "hi": "यह घर पहाड़ी पर है और इस में एक बाग भी है।",
    "ne": "यो घर डाँडा मा छ र पनि ठूलो छैन।",
    "mr": "हे घर टेकडी वर आहे आणि ते मोठे नाही पण छान आहे.",
    "zh": "这座房子在山上，有一个很大的花园。",
    "ja": "この家は丘の上にあり、とても大きい庭があります。",
    "ko": "이 집은 언덕 위에 있고 정원이 아주 큽니다.",
    "th": "บ้านหลังนี้อยู่บนเนินเขาและมีสวนขนาดใหญ่",
    "he": "הבית הזה נמצא על הגבעה ויש לו גינה גדולה.",
    "el": "Το σπίτι είναι πάνω στον λόφο και έχει μεγάλο κήπο.",
    "bn": "এই বাড়িটি পাহাড়ের উপর এবং এর একটি বড় বাগান আছে।",
    "ta": "இந்த வீடு மலையில் உள்ளது மற்றும் பெரிய தோட்டம் உள்ளது.",
    "te": "ఈ ఇల్లు కొండపై ఉంది మరియు పెద్ద తోట ఉంది.",
    "kn": "ಈ ಮನೆ ಬೆಟ್ಟದ ಮೇಲಿದೆ ಮತ್ತು ದೊಡ್ಡ ತೋಟವಿದೆ.",
    "gu": "આ ઘર ટેકરી પર છે અને તેમાં મોટો બગીચો છે.",
    "pa": "ਇਹ ਘਰ ਪਹਾੜੀ ਉੱਤੇ ਹੈ ਅਤੇ ਇਸ ਵਿੱਚ ਵੱਡਾ ਬਾਗ ਹੈ।",
    "ml": "ഈ വീട് കുന്നിൻ മുകളിലാണ്, ഒരു വലിയ തോട്ടമുണ്ട്.",
}
