"""Short tables of common knowledge, written for this project: the part of the demo model's facts that needs no package.

Used by sources.py and phrasings.py. Facts only, no phrasing.
"""

US_STATES = dict(pair.split("=") for pair in (
    "Alabama=Montgomery;Alaska=Juneau;Arizona=Phoenix;Arkansas=Little Rock;California=Sacramento;Colorado=Denver;"
    "Connecticut=Hartford;Delaware=Dover;Florida=Tallahassee;Hawaii=Honolulu;Idaho=Boise;Illinois=Springfield;"
    "Indiana=Indianapolis;Iowa=Des Moines;Kansas=Topeka;Kentucky=Frankfort;Louisiana=Baton Rouge;Maine=Augusta;"
    "Maryland=Annapolis;Massachusetts=Boston;Michigan=Lansing;Minnesota=Saint Paul;Mississippi=Jackson;"
    "Missouri=Jefferson City;Montana=Helena;Nebraska=Lincoln;Nevada=Carson City;New Hampshire=Concord;"
    "New Jersey=Trenton;New Mexico=Santa Fe;North Carolina=Raleigh;North Dakota=Bismarck;Ohio=Columbus;"
    "Oklahoma=Oklahoma City;Oregon=Salem;Pennsylvania=Harrisburg;Rhode Island=Providence;South Carolina=Columbia;"
    "South Dakota=Pierre;Tennessee=Nashville;Texas=Austin;Utah=Salt Lake City;Vermont=Montpelier;Virginia=Richmond;"
    "West Virginia=Charleston;Wisconsin=Madison;Wyoming=Cheyenne").split(";"))

MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December"]
MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
PLANETS = ["Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune"]
ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
            "twelfth"]
ANIMAL_YOUNG = {"dog": "puppy", "cat": "kitten", "cow": "calf", "horse": "foal", "sheep": "lamb", "goat": "kid",
                "pig": "piglet", "chicken": "chick", "duck": "duckling", "goose": "gosling", "bear": "cub",
                "deer": "fawn", "kangaroo": "joey", "frog": "tadpole", "swan": "cygnet", "eagle": "eaglet",
                "hare": "leveret", "owl": "owlet", "spider": "spiderling", "butterfly": "caterpillar"}
ANIMAL_SOUNDS = {"dog": "barks", "cat": "meows", "cow": "moos", "horse": "neighs", "sheep": "bleats", "duck": "quacks",
                 "pig": "oinks", "lion": "roars", "wolf": "howls", "snake": "hisses", "bee": "buzzes",
                 "mouse": "squeaks", "owl": "hoots", "frog": "croaks", "donkey": "brays", "elephant": "trumpets",
                 "rooster": "crows", "bird": "sings"}
ANIMAL_LEGS = {"dog": 4, "cat": 4, "cow": 4, "horse": 4, "spider": 8, "ant": 6, "bee": 6, "bird": 2, "chicken": 2,
               "snake": 0, "fish": 0, "crab": 10, "frog": 4, "butterfly": 6, "person": 2}
SHAPE_SIDES = {"triangle": 3, "square": 4, "rectangle": 4, "pentagon": 5, "hexagon": 6, "heptagon": 7, "octagon": 8,
               "nonagon": 9, "decagon": 10}
MIXED_COLOURS = {("red", "yellow"): "orange", ("blue", "yellow"): "green", ("red", "blue"): "purple",
                 ("red", "white"): "pink", ("black", "white"): "grey"}
COUNTS = {"days in a week": 7, "months in a year": 12, "hours in a day": 24, "minutes in an hour": 60,
          "seconds in a minute": 60, "days in a year": 365, "weeks in a year": 52, "years in a decade": 10,
          "years in a century": 100, "centimetres in a metre": 100, "metres in a kilometre": 1000,
          "grams in a kilogram": 1000, "letters in the English alphabet": 26, "continents on Earth": 7,
          "planets in the solar system": 8, "strings on a violin": 4, "bits in a byte": 8, "items in a dozen": 12,
          "degrees in a circle": 360, "degrees in a right angle": 90, "players in a football team": 11,
          "squares on a chessboard": 64, "cards in a standard deck": 52, "states in the United States": 50}
ROMAN = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6, "VII": 7, "VIII": 8, "IX": 9, "X": 10, "XI": 11, "XII": 12,
         "XX": 20, "XXX": 30, "XL": 40, "L": 50, "XC": 90, "C": 100, "D": 500, "M": 1000}

NAMES = ("Anna Ben Carla David Emma Felix Grace Hugo Iris Jack Kate Leo Maria Nina Oscar Paul Quinn Rosa Sam Tina Uma "
         "Victor Wendy Xavier Yara Zoe Alice Bob Clara Daniel Elena Frank George Hannah Ivan Julia Karl Laura Marco "
         "Nora Oliver Peter Rachel Simon Tom Ursula Vera Walter Aisha Bilal Chen Dmitri Esra Farid Gita Hiro Ines "
         "Jamal Kofi Lin Mei Nadia Omar Priya Raj Sofia Tariq Yuki Zara Adam Bella Caleb Diana Ethan Fiona Gavin "
         "Helen Isaac James Kevin Linda Mark Nathan Olga Patrick Rita Steven Theresa Vincent").split()
HELD_NAMES = ("Albert Beatrice Cedric Dora Edgar Flora Gideon Harriet Igor Joan Klaus Lydia Miriam Nigel Ophelia Pedro "
              "Ruth Stella Tobias Viola").split()
UNWANTED_WORDS = set("sex sexual penis vagina breast nude whore bastard negro slave rape murder suicide drug cocaine nazi "
                     "kill dead death weapon gun bomb terrorist crap damn hell pot pubic anal anus rectum fetus".split())

OPPOSITES = dict(pair.split("=") for pair in (
    "hot=cold big=small tall=short fast=slow happy=sad good=bad old=young light=dark heavy=light_weight open=closed full=empty "
    "hard=soft wet=dry rich=poor strong=weak early=late loud=quiet clean=dirty easy=difficult thick=thin wide=narrow "
    "deep=shallow high=low long=brief near=far up=down left=right true=false right=wrong alive=dead safe=dangerous "
    "sharp=blunt rough=smooth sweet=bitter brave=cowardly cheap=expensive ancient=modern public=private north=south "
    "east=west day=night summer=winter love=hate war=peace buy=sell push=pull start=stop win=lose give=take laugh=cry "
    "remember=forget arrive=depart increase=decrease accept=refuse inside=outside above=below before=after always=never "
    "friend=enemy success=failure question=answer entrance=exit victory=defeat import=export maximum=minimum "
    "polite=rude visible=invisible possible=impossible honest=dishonest guilty=innocent generous=selfish "
    "legal=illegal natural=artificial permanent=temporary simple=complex").split())
OPPOSITES["heavy"] = "light"

DEFINED_WORDS = ("violin piano guitar trumpet drum flute harp cello clarinet trombone hammer saw screwdriver chisel axe shovel "
    "rake wrench pliers ladder telescope microscope compass thermometer barometer clock calendar lantern candle mirror "
    "umbrella wallet pillow blanket mattress curtain carpet sofa armchair stool desk bookcase cupboard refrigerator oven "
    "kettle spoon fork knife plate bowl cup teapot bottle basket bucket broom mop sponge soap towel toothbrush comb razor "
    "scissors needle thread button zipper shirt trousers skirt sweater jacket coat hat scarf glove sock shoe boot sandal "
    "belt necklace bracelet ring crown apple banana orange lemon grape peach pear plum cherry strawberry raspberry "
    "blueberry watermelon pineapple mango coconut tomato potato carrot onion garlic cabbage lettuce spinach cucumber "
    "pumpkin mushroom bread butter cheese yogurt honey jam sugar salt pepper cinnamon vanilla chocolate biscuit cake pie "
    "pancake soup salad sandwich pizza spaghetti rice noodle coffee tea milk juice wine beer lion tiger elephant giraffe "
    "zebra rhinoceros hippopotamus camel kangaroo koala panda wolf fox rabbit squirrel hedgehog badger otter beaver mole "
    "bat whale dolphin shark octopus squid jellyfish crab lobster salmon tuna frog toad lizard snake crocodile turtle "
    "eagle hawk owl penguin ostrich flamingo parrot swan goose duck sparrow robin crow pigeon butterfly beetle ant bee "
    "wasp mosquito spider scorpion oak pine birch willow maple palm rose tulip daisy sunflower orchid cactus fern moss "
    "mountain valley river lake ocean island desert forest glacier volcano waterfall canyon cave beach swamp meadow "
    "peninsula planet star comet meteor galaxy moon eclipse orbit gravity magnet electricity battery engine turbine "
    "bicycle motorcycle automobile bus truck train tram airplane helicopter balloon rocket submarine sailboat canoe ferry "
    "bridge tunnel highway railway harbor airport lighthouse castle palace cathedral temple mosque museum library "
    "hospital school university factory prison restaurant hotel theater stadium farm garden orchard vineyard greenhouse "
    "doctor nurse dentist surgeon pharmacist lawyer judge teacher professor student engineer architect carpenter plumber "
    "electrician baker butcher farmer fisherman sailor pilot soldier firefighter detective journalist novelist poet "
    "painter sculptor composer conductor photographer actor dancer singer athlete referee president senator ambassador "
    "democracy monarchy republic parliament constitution treaty tax budget bank currency bond inflation alphabet "
    "vowel consonant noun verb adjective adverb sentence paragraph novel poem proverb dictionary encyclopedia newspaper "
    "triangle rectangle circle sphere cube pyramid cylinder ellipse algebra geometry arithmetic calculus statistics "
    "biology chemistry physics astronomy geology botany zoology psychology philosophy economics archaeology heart lung "
    "liver kidney stomach brain skeleton skull rib muscle artery vein earthquake hurricane tornado blizzard avalanche "
    "drought flood fog thunder lightning rainbow computer keyboard printer software algorithm database internet chess").split()
# WordNet's first sense of these is not what a person asks about.
for _word in ("hammer rake wrench plate needle glove ring lettuce tiger otter beaver mole whale dolphin octopus squid lobster tuna "
              "turtle ostrich galaxy battery bank bond sphere calculus heart skeleton printer chess peach coconut spaghetti "
              "oak maple palm jellyfish pepper chocolate blueberry botany zoology philosophy conductor hedgehog "
              "refrigerator toothbrush toad palace watermelon belt cupboard").split():
    DEFINED_WORDS.remove(_word)
