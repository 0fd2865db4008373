"""A grammar of requests for the demo model's tools: cores of sentences, polite wrappers, tails and words around values.

Every family of tool_families.py has cores of four kinds: what to do (`imp`), what is wanted (`np`), a question (`q`), a
statement (`say`); optional parameters have attachments. Wrapped and combined they give many thousand wordings, so that the
border of a value is learnt from the sentence and not from one phrase. compose() returns a wording with {slot} marks. Wordings
that the evaluation holds out are never returned. Used by tool_tasks.py; more_tools.py adds families of the same form.
"""

IMPERATIVE = """{C}.|{C}.|{C}!|{C}|Please {c}.|{C}, please.|{C} please|Can you {c}?|Could you {c}?|Could you please {c}?|Can you please {c}?|Would you {c}?|Will you {c}?|I want you to {c}.
I need you to {c}.|I'd like you to {c}.|I would like you to {c}.|Go ahead and {c}.|Now {c}.|Your task: {c}.|You are to {c}.|Task: {c}.|Help me {c}.|Let's {c}.|Let us {c}.|Be so kind and {c}.
I was wondering if you could {c}.|It would be great if you could {c}.|Is it possible to {c}?|Is there a way to {c}?|We have to {c}.|We should {c}.|I have to {c}.|I must {c}.|I'm trying to {c}.
The next step is to {c}.|Don't forget to {c}.|Make sure to {c}.|Do me a favour and {c}.|Someone told me to {c}.|First, {c}.|Quickly {c}.|Just {c}.|Try to {c}.|All I need is for you to {c}.
Use a tool to {c}.|Use the tool and {c}.|{n}, {c}.|Hey, {c}.|ok {c}|{c}|It's important to {c}.|Before anything else, {c}.|When you have a moment, {c}.|If possible, {c}.|As soon as you can, {c}.
Would you mind: {c}.|Next, {c}.|Then {c}.|I asked you to {c}.|{n} wants you to {c}.|{n} says: {c}.|Somebody should {c}.|You may {c}.|Time to {c}.|The job is to {c}.|What about this: {c}.
We'd love it if you could {c}.|Are you able to {c}?|Might you {c}?|I hope you can {c}.|For {n}: {c}.|My wish: {c}.|One thing: {c}.|Do this: {c}.|This is what I want: {c}.|Alright, {c}.|Yes, {c}.""".replace("\n", "|").split("|")
NOMINAL = """I need {c}.|{C}, please.|{C}.|{C}?|Give me {c}.|Get me {c}.|Can I have {c}?|Could I get {c}?|I'd like {c}.|I would like {c}.|I want {c}.|Show me {c}.|May I have {c}?|We need {c}.
I'm looking for {c}.|I could use {c}.|How about {c}?|What I need is {c}.|Next: {c}.|Request: {c}.|Time for {c}.|{c}|{c} please|Can we get {c}?|Please get {c}.|{n} needs {c}.|{n} wants {c}.|I am after {c}.
I ask for {c}.|Let me have {c}.|Let us have {c}.|We would like {c}.|We want {c}.|Could you get me {c}?|Can you get {c}?|My wish is {c}.|Only {c}.|Just {c}, nothing else.|Quick, {c}.|Now {c}.""".replace("\n", "|").split("|")
QUESTION = """{C}?|{C}?|{C}?|{C}?|{C}|Tell me: {c}?|Quick question: {c}?|Do you know: {c}?|Hey, {c}?|So {c}?|Just curious, {c}?|One question: {c}?|And {c}?|Please say, {c}?|I ask myself: {c}?
{n} asks: {c}?|Hm, {c}?|Say, {c}?|Now {c}?|Any idea {c}?|Please check: {c}?""".replace("\n", "|").split("|")
STATEMENT = """{C}.|{C}.|{C}.|{C}!|{C}|I decided: {c}.|From now on {c}.|Please note: {c}.|Remember, {c}.|{n} said {c}.|I think {c}.|As agreed, {c}.|It is settled: {c}.|OK, {c}.|See to it: {c}.""".replace("\n", "|").split("|")
WRAPS = {"imp": IMPERATIVE, "np": NOMINAL, "q": QUESTION, "say": STATEMENT}

TAILS = """ right now| right away| immediately| at the moment| this minute| tonight| this evening| for my trip| for my work| as quickly as possible| when you can| if you don't mind| like last time| once more| as usual
 straight away| without delay| in the meantime|, okay?|, would you?|, my friend|, thank you|, thanks in advance| for a colleague| for the team| before lunch| after that| as well| too|, if possible| already| these days| just now
 for a moment| first| for us| for me| for my mother|, thanks|, please| please| again| at once| as soon as possible| later| while I wait| or something|, all right?|, dear| because I need it| before it is too late
 since {n} asked| so that I can go on| - it is urgent| (urgent)| instead| by the way| then| quickly| and nothing else| as promised| in any case| for once""".replace("\n", "|").split("|")
OPENINGS = """Before I forget, |By the way, |I have a request: |Good morning, |Good evening! |Sorry to bother you, |Okay, |Well, |Right, |Actually, |Quick one: |For the record, |On second thought, |In that case, |To start, |Hello, 
I am in a hurry. |We are late. |My phone is broken. |Nobody else can help. |I am back. |It's me again. |Thanks for before. |Let me think. |I changed my mind. |You know what? |Good job so far. |Sure. |Fine. |That's it. |Next one. """.replace("\n", "|").split("|")

# Words before a value, by its kind; the value is what stands in {v}.
AROUND = {
    "word": "the word {v}|the item {v}|the term {v}|an item {v}|a thing called {v}|something named {v}|the entry {v}|the name {v}|the word \"{v}\"|'{v}'|\"{v}\"|({v})|what we call {v}|the expression {v}|*{v}*",
    "phrase": "the text {v}|the item {v}|\"{v}\"|\"{v}\"|'{v}'|the words {v}|the line {v}|\u201c{v}\u201d|({v})|something called {v}|the following: {v}|a thing named {v}|the point {v}|the topic {v}|the matter {v}|`{v}`|[{v}]",
    "title": "the title {v}|\"{v}\"|\"{v}\"|'{v}'|\u201c{v}\u201d|something called {v}|the one called {v}|the famous {v}|good old {v}|a thing with the title {v}",
    "city": "the city of {v}|the town of {v}|beautiful {v}|lovely {v}|\"{v}\"|the place {v}|the city {v}|my home town {v}|a place called {v}|sunny {v}|far away {v}|downtown {v}",
    "code": "{v} money|\"{v}\"|({v})|the currency {v}", "sentence": "\"{v}\"|\"{v}\"|'{v}'|\u201c{v}\u201d|the words \"{v}\"|exactly this: \"{v}\"",
    "path": "the file {v}|\"{v}\"|`{v}`|'{v}'|my file {v}|the document {v}|({v})|a file called {v}|the file named {v}|the one at {v}|the path {v}|our {v}",
    "name": "my friend {v}|my brother {v}|my boss {v}|\"{v}\"|our colleague {v}|my neighbour {v}|dear {v}|a certain {v}|someone named {v}",
    "date": "the day {v}|the date {v}|\"{v}\"|({v})", "clock": "exactly {v}|\"{v}\"|{v} sharp|about {v}|the time {v}", "email": "<{v}>|\"{v}\"|the address {v}|my colleague at {v}|the person at {v}",
    "tracking": "\"{v}\"|the code {v}|number {v}|({v})|the one with code {v}|#{v}", "ticker": "\"{v}\"|the company {v}|my {v}|({v})", "command": "`{v}`|\"{v}\"|the command {v}|the line `{v}`|'{v}'",
    "expression": "\"{v}\"|the term {v}|the sum {v}|({v})", "room": "my {v}|our {v}|the old {v}", "food": "fresh {v}|hot {v}|your best {v}", "language": "good {v}|proper {v}",
}
AROUND = {kind: texts.split("|") for kind, texts in AROUND.items()}


def grammar(imp, np="", q="", say="", **opt):
    cores = {kind: text.split("|") for kind, text in (("imp", imp), ("np", np), ("q", q), ("say", say)) if text}
    return {"cores": cores, "opt": {slot: text.split("|") for slot, text in opt.items()}}


GRAMMARS = {
    "get_weather": grammar(
        "check the weather in {city}|find out how the weather is in {city}|look up the {city} weather|tell me how warm {city} is|report the weather for {city}|see if it rains in {city}|get the temperature in {city}|see what the sky over {city} looks like|measure how cold it is in {city}|describe the weather around {city}",
        "the weather in {city}|a weather report for {city}|the current temperature in {city}|the {city} weather|the forecast of {city}|today's weather for {city}|weather data of {city}|an update on the weather in {city}",
        "how cold is it in {city}|is it windy in {city}|does it snow in {city}|what is the temperature in {city}|what's it like outside in {city}|will I need an umbrella in {city}|how many degrees does {city} have|is the sun shining in {city}|is {city} foggy|how bad is the weather in {city}|should I wear a jacket in {city}|{city}: how is the weather",
        "I am travelling to {city} and want to know the weather|{city} is where I am going, so check the weather there|I wonder about the weather in {city}|in {city} they talk about the weather, so look it up",
        unit="in {unit}|using {unit}|(in {unit})|with {unit} as the unit|, unit {unit}|, in degrees {unit}|and use {unit}"),
    "get_time": grammar(
        "tell me what time it is in {city}|look up the clock in {city}|find the local time for {city}|see how late it is in {city}|get the hour in {city}|check the clock of {city}|say what the clock shows in {city}",
        "the time in {city}|the local time of {city}|the exact time in {city}|the present time in {city}|{city} time|the hour in {city}",
        "what is the clock in {city}|what hour is it in {city}|is it late in {city}|do you know the time in {city}|what time do people in {city} have|what does the clock in {city} say|which hour is it over in {city}",
        "my sister lives in {city} and I need the time there|I want to ring someone in {city}, so what time do they have|{city} has another time zone, tell me the time there"),
    "set_timer": grammar(
        "set a timer for {minutes} minutes|start counting down {minutes} minutes|begin a timer of {minutes} minutes|time {minutes} minutes|set up {minutes} minutes on the timer|wait {minutes} minutes and then ring|alert me after {minutes} minutes|make the timer last {minutes} minutes|measure {minutes} minutes",
        "a timer for {minutes} minutes|a {minutes}-minute timer|a countdown of {minutes} minutes|{minutes} minutes on the clock|a timer lasting {minutes} minutes|a {minutes} min countdown",
        "could there be a timer for {minutes} minutes|may I have {minutes} minutes on the timer", "the eggs need {minutes} minutes, so start a timer|in {minutes} minutes I want to hear a bell|it takes {minutes} minutes, time it",
        label="called {label}|named {label}|with the label {label}|and label it {label}|for {label}|, label {label}|(name: {label})|under the name {label}|and call it {label}|titled \"{label}\"|, its label being {label}"),
    "set_alarm": grammar(
        "set an alarm for {time}|wake me up at {time}|let the bell ring at {time}|get me out of bed at {time}|put the alarm on {time}|ring me at {time}|schedule an alarm for {time}|set the alarm clock to {time}|have the alarm go off at {time}",
        "an alarm at {time}|a wake-up call at {time}|an alarm for {time}|a {time} alarm|the alarm clock set to {time}",
        "could I be woken at {time}|can the alarm go off at {time}", "I need to be up at {time}|{time} is when I want to wake up|I have to get up at {time}, so set the alarm|the alarm should go off at {time}|my day starts at {time}, wake me",
        repeat="{repeat}|, {repeat}|({repeat})|and let it ring {repeat}|- {repeat}"),
    "send_email": grammar(
        "send an email to {to} about {subject}|write {to} an email with the subject {subject}|mail {to} under the subject \"{subject}\"|compose a mail to {to}, subject {subject}|send {to} a mail titled {subject}|write an email with the subject \"{subject}\" to {to}|send mail with subject {subject} to {to}|email {to} with \"{subject}\" as subject|drop a line to {to} (subject: {subject})",
        "an email to {to} about {subject}|a mail for {to} titled \"{subject}\"|an email with the subject {subject} to {to}|a new mail: to {to}, subject {subject}", "",
        "{to} has to get an email about {subject}|the mail goes to {to} and its subject is {subject}|the subject is {subject}, the address is {to}, send the mail|\"{subject}\" is the subject of a mail to {to}",
        body="with the text \"{body}\"|. The text: \"{body}\"|saying \"{body}\"|. Body: {body}|and write \"{body}\"|. It says: {body}|with \"{body}\" in it"),
    "send_message": grammar(
        "send {name} a message saying \"{text}\"|text \"{text}\" to {name}|write {name} that \"{text}\"|tell {name} this: {text}|message {name}: {text}|send \"{text}\" to {name}|pass on \"{text}\" to {name}|inform {name}: {text}|send the words \"{text}\" to {name}|forward this to {name}: {text}|drop {name} a line: {text}|answer {name} with \"{text}\"",
        "a message to {name}: {text}|a text for {name} that says \"{text}\"|an SMS to {name} with \"{text}\"", "can {name} be told \"{text}\"",
        "\"{text}\" - that is what {name} should get|{name} should hear \"{text}\"|{name} has to know this: {text}|\"{text}\" is my message to {name}|I have news for {name}: {text}"),
    "create_event": grammar(
        "add an event called {title} on {date}|put {title} into my calendar for {date}|create a calendar entry {title} for {date}|schedule {title} for {date}|enter {title} on {date}|plan the event {title} on {date}|block {date} for {title}|save the date {date} for {title}|write down {title} on {date}|make an appointment {title} on {date}|set up an event on {date} with the title {title}|insert \"{title}\" at {date}",
        "a calendar entry for {title} on {date}|an appointment {title} on {date}|an event on {date} called {title}|{title} in my calendar on {date}|a new event \"{title}\" for {date}",
        "can {title} be in my calendar on {date}|is there room for {title} on {date}, and if so, can you add it", "{title} takes place on {date}, so add it to the calendar|on {date} there is {title}, put it down|{date} is the day of {title}|the event is {title} and the day is {date}|{title} will be on {date}|my agenda for {date} should show {title}",
        time="at {time}|, starting at {time}|from {time} on|, {time}|(start {time})|, begin {time}"),
    "web_search": grammar(
        "search the internet for {query}|look up {query} on the web|find pages on {query}|google {query}|search for information about {query}|find websites that mention {query}|see what the web has on {query}|run a web search for {query}|browse for {query}|find something about {query} online|do a search on \"{query}\"|query the web with {query}",
        "web pages about {query}|search results for {query}|information on {query} from the web|some links about {query}|an internet search for {query}|everything the web has on {query}",
        "what is there online about {query}|what can be found about {query} on the internet|can you find {query} on the web|where on the web is {query} mentioned", "I want to read about {query} online|I need to know more about {query}, search the web|{query} interests me, look for it on the web",
        limit="and show {limit} results|with {limit} results|, at most {limit} results|(limit {limit})|, only {limit} hits|and return {limit} pages"),
    "translate": grammar(
        "translate \"{text}\" into {language}|put {text} in {language}|say \"{text}\" in {language}|turn the words {text} into {language}|express \"{text}\" in {language}|give the {language} translation of {text}|write \"{text}\" in {language}|find the {language} word for {text}|change {text} to {language}|render \"{text}\" in {language}|tell me the {language} for {text}",
        "the {language} translation of \"{text}\"|\"{text}\" in {language}|the {language} version of {text}|a translation of {text} into {language}|the {language} word for \"{text}\"",
        "what is the {language} word for {text}|how would a {language} speaker say \"{text}\"|what does {text} become in {language}|how is {text} said in {language}|what do I write for \"{text}\" in {language}|in {language}, what is \"{text}\"|how can I say {text} in {language}", "I want to say \"{text}\" in {language}|my text is \"{text}\" and it should be in {language}|in {language} I want to write \"{text}\"|the word is {text} and I need it in {language}"),
    "convert_currency": grammar(
        "convert {amount} {from} into {to}|change {amount} {from} to {to}|exchange {amount} {from} for {to}|turn {amount} {from} into {to}|calculate {amount} {from} in {to}|work out how many {to} I get for {amount} {from}|tell me the value of {amount} {from} in {to}|express {amount} {from} in {to}|swap {amount} {from} into {to}|switch {amount} {from} over to {to}",
        "the value of {amount} {from} in {to}|{amount} {from} in {to}|a conversion of {amount} {from} to {to}|{amount} {from} converted to {to}",
        "what is {amount} {from} in {to}|how many {to} is {amount} {from}|how many {to} will {amount} {from} give me|what would {amount} {from} be in {to}|in {to}, how much is {amount} {from}|what will I get for {amount} {from} in {to}", "I have {amount} {from} and need {to}|the price is {amount} {from} but I pay in {to}|I want to change {amount} {from} and get {to}|my {amount} {from} should become {to}"),
    "play_music": grammar(
        "play {song}|play the track {song}|put {song} on|start the song {song}|let me hear {song}|play the song called {song}|start playing {song}|turn on {song}|play some {song}|find and play {song}|begin with {song}|play us {song}",
        "the song {song}|some music, namely {song}|{song} from the speakers|a bit of {song}", "can we listen to {song}|can you play {song}|how about hearing {song}", "I am in the mood for {song}|I'd love to hear {song}|we feel like {song}|the next song should be {song}|{song} is what I want to hear",
        volume="at volume {volume}|with volume {volume}|, volume {volume}|at a volume of {volume}|(volume: {volume})|and set the volume to {volume}|at {volume} percent volume"),
    "set_light": grammar(
        "turn {on} the light in the {room}|switch the {room} lights {on}|turn the lamp in the {room} {on}|put the {room} light {on}|switch {on} the {room} lamp|set the lights of the {room} to {on}|make the lights in the {room} go {on}|have the {room} lights {on}|flip the {room} light {on}",
        "the {room} light {on}|the lights in the {room} {on}|light {on} in the {room}", "can the light in the {room} be {on}|may the {room} lights be {on}", "the {room} light should be {on}|in the {room} the lights have to be {on}|the lamps of the {room} must go {on}",
        brightness="at {brightness} percent|with {brightness} percent brightness|, brightness {brightness}|at {brightness} % brightness|({brightness} percent)"),
    "set_temperature": grammar(
        "set the {room} to {degrees} degrees|heat the {room} up to {degrees} degrees|turn the heating in the {room} to {degrees}|bring the temperature of the {room} to {degrees} degrees|make the {room} {degrees} degrees warm|set the thermostat in the {room} to {degrees}|adjust the {room} to {degrees} degrees|keep the {room} at {degrees} degrees|put the {room} heating on {degrees}",
        "{degrees} degrees in the {room}|a temperature of {degrees} degrees in the {room}|the {room} at {degrees} degrees", "can it be {degrees} degrees in the {room}|can the {room} have {degrees} degrees", "the {room} is too cold, set it to {degrees} degrees|I like the {room} at {degrees} degrees|it must be {degrees} degrees in the {room}|in the {room}, {degrees} degrees would be nice"),
    "stock_price": grammar(
        "check the price of {symbol}|look up the {symbol} stock|get the current value of {symbol}|find out what {symbol} costs|see how {symbol} is doing|quote {symbol}|tell me what {symbol} is trading at|fetch the share price of {symbol}|report the {symbol} price",
        "the price of {symbol}|the share price of {symbol}|a quote for {symbol}|the current {symbol} stock price|the value of {symbol} shares", "what is {symbol} trading at|how expensive is {symbol}|how high is {symbol}|did {symbol} go up|what do {symbol} shares cost|how is {symbol} doing", "I think of buying {symbol}, so check its price|I hold {symbol} and want its price|{symbol} is in the news, what is its price"),
    "calculator": grammar(
        "calculate {expression}|compute the value of {expression}|work out {expression}|solve {expression}|evaluate {expression}|do the calculation {expression}|figure out {expression}|determine {expression}|run {expression} through the calculator", "the result of {expression}|the value of {expression}|the answer to {expression}", "what does {expression} make|what do I get for {expression}|how much does {expression} give|what is the result of {expression}|{expression} is how much", "I need to know {expression}|the problem is {expression}|my homework says {expression}"),
    "add_note": grammar(
        "write a note: {text}|note down \"{text}\"|save \"{text}\" as a note|put \"{text}\" in my notes|take a note that says \"{text}\"|keep a note: {text}|jot down: {text}|record the note \"{text}\"|add \"{text}\" to the notes|create a note with the text \"{text}\"|store this note: {text}|file a note: {text}",
        "a note that says \"{text}\"|a new note: {text}|a note with \"{text}\"", "can you note this: {text}", "I want to remember \"{text}\"|\"{text}\" should be in my notes|this belongs in my notes: {text}|here is a note: {text}",
        tags="with the tags {tags}|, tags: {tags}|tagged {tags}|(tags {tags})|and tag it {tags}|under the tags {tags}|with {tags} as tags"),
    "add_task": grammar(
        "add {task} to my tasks|create the task {task}|put {task} on the to-do list|note {task} as a task|make a task called {task}|add a to-do: {task}|write {task} on my list|set up a task {task}|list {task} as something to do|add \"{task}\" as a to-do|enter the task {task}",
        "a new task {task}|a to-do called {task}|a task: {task}|{task} on my to-do list|{task} as a task", "can {task} go on my list|could {task} be on my to-do list", "I still have to do {task}|{task} has to be done|{task} should be on my list|there is something to do: {task}|the new task is {task}",
        priority="with {priority} priority|, priority {priority}|, {priority} priority|(priority: {priority})|at {priority} priority|as a {priority} priority item"),
    "book_flight": grammar(
        "book a flight from {from} to {to}|find me a plane from {from} to {to}|get a ticket from {from} to {to}|reserve a seat on a flight from {from} to {to}|search for flights from {from} to {to}|buy a plane ticket to {to} from {from}|fly me from {from} to {to}|look for a plane to {to} leaving from {from}|arrange a flight to {to} from {from}|reserve a plane to {to}, departing from {from}|get me to {to} from {from} by air|book a plane to {to}, I start in {from}|find a flight that leaves {from} and lands in {to}|get a plane for {to} out of {from}",
        "a flight from {from} to {to}|a plane ticket to {to} from {from}|a seat on a plane from {from} to {to}|flights between {from} and {to}|a trip by air from {from} to {to}|a one-way flight {from} to {to}",
        "are there flights from {from} to {to}|which plane goes from {from} to {to}|can I fly from {from} to {to}|is it possible to fly to {to} from {from}", "I am in {from} and want to fly to {to}|my trip starts in {from} and ends in {to}|I leave {from} by plane and go to {to}|to {to} is where I fly, starting in {from}|I have to fly from {from} to {to}",
        date="on {date}|for {date}|, {date}|leaving on {date}|, departure {date}|(date: {date})"),
    "book_hotel": grammar(
        "book a hotel in {city} for {nights} nights|find a room in {city} for {nights} nights|reserve {nights} nights in {city}|get me a hotel room in {city}, {nights} nights|look for a place to stay in {city} for {nights} nights|arrange {nights} nights at a hotel in {city}|book {nights} nights in a {city} hotel|find accommodation in {city} for {nights} nights",
        "a hotel in {city} for {nights} nights|{nights} nights in {city}|a room in {city} for {nights} nights|a {nights} night stay in {city}|somewhere to sleep in {city} for {nights} nights", "which hotel in {city} has a room for {nights} nights|is there a hotel in {city} for {nights} nights|can I stay {nights} nights in {city}", "I will be in {city} for {nights} nights and need a room|we travel to {city} and stay {nights} nights|my stay in {city} is {nights} nights|for {nights} nights I need a hotel in {city}",
        guests="for {guests} guests|with {guests} people|, {guests} persons|and {guests} guests|, we are {guests}|({guests} guests)|for a party of {guests}|and there are {guests} of us"),
    "order_food": grammar(
        "order {quantity} {dish}|get us {quantity} {dish}|have {quantity} {dish} delivered|send {quantity} {dish} to my place|buy {quantity} {dish}|bring me {quantity} {dish}|place an order for {quantity} {dish}|ask for {quantity} {dish}", "{quantity} {dish}|{quantity} portions of {dish}|an order of {quantity} {dish}|{quantity} {dish} for our table|a delivery of {quantity} {dish}", "may we have {quantity} {dish}|could you bring {quantity} {dish}", "we are hungry: {quantity} {dish}|we take {quantity} {dish}|I feel like eating {quantity} {dish}|for lunch I want {quantity} {dish}|{quantity} of the {dish} for me"),
    "get_directions": grammar(
        "show me how to get from {from} to {to}|find the way from {from} to {to}|give directions from {from} to {to}|plan a route from {from} to {to}|guide me from {from} to {to}|navigate to {to} from {from}|get the route between {from} and {to}|tell me how to reach {to} from {from}|explain the way to {to}, starting in {from}", "directions from {from} to {to}|the route from {from} to {to}|the best way from {from} to {to}|the way to {to} from {from}|the path between {from} and {to}", "how do I reach {to} from {from}|what is the way from {from} to {to}|how far is it from {from} to {to}|how can I get to {to} from {from}|how would I go from {from} to {to}", "I start in {from} and want to reach {to}|I am at {from} and have to get to {to}|we drive from {from} to {to}, show us the way|my goal is {to} and I begin in {from}",
        mode="by {mode}|travelling by {mode}|, by {mode}|(by {mode})|using the {mode}|going by {mode}"),
    "read_file": grammar(
        "read {path}|open {path}|show the content of {path}|print {path}|display {path}|tell me what is in {path}|load the file {path}|get {path}|view {path}|have a look at {path}|read out {path}|return the text in {path}|look inside {path}|fetch what {path} holds", "the content of {path}|the file {path}|the text in {path}|what stands in {path}|everything in {path}", "what is inside {path}|what stands in {path}|what's in {path}|what can I read in {path}|what text does {path} hold", "I need to see {path}|I'd like to read {path}|{path} is the file I want to see|let me look at {path}|there is a file {path}, read it"),
    "write_file": grammar(
        "write \"{content}\" into {path}|save the text \"{content}\" as {path}|create {path} containing \"{content}\"|put the words \"{content}\" in {path}|store \"{content}\" at {path}|make a file named {path} with \"{content}\" inside|fill a file {path} with the text \"{content}\"|write to {path}: \"{content}\"|add \"{content}\" to {path}|set the content of {path} to \"{content}\"|overwrite {path} with \"{content}\"|write the following to {path}: {content}|save to {path} the line \"{content}\"|open {path} and write \"{content}\"|let {path} hold \"{content}\"|give {path} the content \"{content}\"|place \"{content}\" inside {path}|drop \"{content}\" into {path}",
        "a file {path} with the content \"{content}\"|\"{content}\" in a file called {path}|\"{content}\" stored in {path}|{path} with \"{content}\" in it|a new file {path} that contains \"{content}\"|\"{content}\" saved under {path}", "can \"{content}\" be in {path}|could {path} contain \"{content}\"", "the file is {path} and the text is \"{content}\"|\"{content}\" is what {path} should say|\"{content}\" has to be saved as {path}|in {path} there should be \"{content}\"|{path} needs the text \"{content}\"|I have the text \"{content}\" for {path}|\"{content}\" shall be the content of {path}|the words \"{content}\" should end up in {path}|{path} is to contain \"{content}\"|to {path} goes \"{content}\""),
    "run_command": grammar(
        "run {command}|execute {command}|run `{command}`|call {command} in the shell|type {command} in the terminal|start `{command}`|launch {command}|try {command}|fire up {command}|run {command} in a terminal|execute the line `{command}`|use bash to run {command}", "the output of {command}|the result of `{command}`|a run of {command}", "what happens if you run {command}|what does `{command}` give|what is printed by {command}", "I need the output of {command}|the command is {command}, run it|{command} has to be executed|I want to see what `{command}` says",
        timeout="with a timeout of {timeout} seconds|with a limit of {timeout} seconds|, timeout {timeout}|, at most {timeout} seconds|(timeout {timeout})|and stop after {timeout} seconds|for {timeout} seconds at most"),
    "get_user": grammar(
        "show the user {id}|look up user {id}|get the data of user {id}|find the user with the id {id}|load user number {id}|open the profile of user {id}|tell me about user {id}|pull up user {id}|search for user {id}|retrieve the record of user {id}", "user {id}|the profile of user {id}|information about user {id}|the data of the user with number {id}|the account {id}", "who is behind the id {id}|which user has id {id}|who has the number {id}|what is user {id} called", "I have a user id, {id}, who is it|user {id} wrote to us, look them up|the user's number is {id}"),
    "track_package": grammar(
        "track the parcel {code}|find package {code}|check where {code} is|look up the status of {code}|locate the parcel {code}|trace {code}|see whether {code} has arrived|follow the shipment {code}|tell me the state of {code}|find out when {code} comes", "the status of package {code}|the whereabouts of {code}|news about parcel {code}|the position of my package {code}|tracking for {code}", "where is {code}|did {code} arrive|has {code} been delivered|is my package {code} lost|when will {code} be here|how long until {code} gets here|what happened to parcel {code}", "my package has the code {code}|I expect a parcel, {code}|the parcel {code} is late|I ordered something, the number is {code}"),
    "roll_dice": grammar(
        "roll {count} dice|throw {count} dice for me|cast {count} dice on the table|roll the dice, {count} of them|let {count} dice fall|shake {count} dice|toss {count} dice|use {count} dice and roll them", "a roll of {count} dice|{count} dice|a throw with {count} dice|{count} dice thrown", "what do {count} dice show|may I roll {count} dice|can you throw {count} dice", "I play with {count} dice, roll them|it's my turn with {count} dice|we need {count} dice rolled",
        sides="with {sides} sides|with {sides} sides each|, {sides} sides|that have {sides} faces|, each with {sides} faces|({sides} sides)|of {sides} sides"),
    "get_definition": grammar(
        "look up {word} in the dictionary|find {word} in the dictionary|get the dictionary entry for {word}|search the dictionary for {word}|check what the dictionary says on {word}|use the dictionary on {word}|ask the dictionary for {word}|read me the dictionary entry for {word}|use a dictionary to define {word}", "the dictionary entry for {word}|the dictionary's definition of {word}|the entry {word} from the dictionary", "what is in the dictionary under {word}|how does the dictionary define {word}|does the dictionary have {word}|what does the dictionary write about {word}", "I found the word {word}, look it up in the dictionary|the dictionary should explain {word}|I need {word} explained by the dictionary"),
}


MIDDLE = " right now| now| today| please| quickly| for me| again| at the moment| tonight| currently| exactly| also| then| over there".split("|")


def capital(text):
    return text[:1].upper() + text[1:]


def slots_of(text, params):
    return {p[0] for p in params if "{" + p[0] + "}" in text}


def compose(rng, rules, params, names, most=6):
    """One wording with {slot} marks; every required slot is in it."""
    kinds = [k for k in rules["cores"]]
    kind = rng.choices(kinds, [{"imp": 5, "np": 2, "q": 2, "say": 2}[k] for k in kinds])[0]
    core = rng.choice(rules["cores"][kind])
    free = ("phrase", "title", "word", "sentence", "words", "name", "city")
    for slot, texts in rules["opt"].items():
        if "{" + slot + "}" not in core and rng.random() < 0.4:
            text = rng.choice(texts)
            core += text if text[0] in ",.(-" and text[0] != "(" else " " + text
    if rng.random() < 0.06:  # a small word before a preposition
        spots = [i for mark in (" in {", " for {", " to {", " from {", " at {", " on {", " into {") for i in [core.find(mark)] if i > 8 and core[i - 1].isalpha()]
        if spots:
            i = rng.choice(spots)
            core = core[:i] + rng.choice(MIDDLE) + core[i:]
    wrap = rng.choice(WRAPS[kind]) if rng.random() < 0.75 else rng.choice(["{C}.", "{C}.", "{C}", "{c}"] if kind != "q" else ["{C}?"])
    if ". " in core and "?" in wrap:
        wrap = "{C}."
    text = wrap.replace("{c}", core).replace("{C}", capital(core)).replace("{n}", rng.choice(names))
    last = next((p for p in params if core.endswith("{" + p[0] + "}")), None)
    border = last is not None and last[4].partition(":")[0] in ("sentence", "words")
    if text[-1] not in ".?!" and border and rng.random() < 0.5:
        text += "."
    if not border and rng.random() < 0.25:
        end = text[-1] if text[-1] in ".?!" else ""
        soft = last is not None and last[4] in free
        tail = rng.choice(TAILS).replace("{n}", rng.choice(names))
        if not soft or rng.random() < 0.7:
            text = text[:len(text) - len(end)] + (tail if not end or tail[-1] != "?" else tail[:-1]) + (end if end else "")
    if rng.random() < 0.08:
        start = rng.choice(OPENINGS)
        text = start + (text if start[-2] in ".!?" else text[:1].lower() + text[1:] if not text.startswith(("I ", "I'")) else text)
    return text
