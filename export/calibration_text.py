"""Built-in text on which 8-bit judges are calibrated and compared: instructions with good and bad responses."""

from typing import Final

RECORDS: Final[tuple[dict[str, str], ...]] = (
    {
        "instruction": "Explain to a ten-year-old why the sky is blue.",
        "response": "Sunlight looks white, but it is a mixture of all colours. When it comes into the air it "
        "bumps into tiny bits of gas, much too small to see. Blue light is bounced around far more "
        "than red light, so when you look up, blue reaches your eyes from every direction. In the "
        "evening the light takes a longer way through the air; most of the blue has been bounced "
        "away before it arrives, and you see orange and red.",
    },
    {
        "instruction": "Write a Python function that returns the n-th Fibonacci number, and say how fast it is.",
        "response": "```python\ndef fibonacci(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, "
        "a + b\n    return a\n```\n\nIt runs in O(n) steps and keeps only two numbers. The "
        "recursive version that calls itself twice takes exponential time: `fibonacci(40)` would "
        "need more than 300 million calls.",
    },
    {
        "instruction": "Summarize: The city council voted 7 to 4 on Monday to close Bridge Street to cars from "
        "June. Shop owners fear for their sales, while a residents' group points to 31 accidents "
        "in the last three years. Buses and bicycles may still pass. The council will look at the "
        "figures again after twelve months.",
        "response": "From June, Bridge Street is closed to cars, but open to buses and bicycles. The council "
        "decided so by 7 votes to 4 because of 31 accidents in three years; shop owners worry "
        "about their sales. It will be reviewed after a year.",
    },
    {
        "instruction": "My rent is going up by 20%. Can my landlord do that?",
        "response": "yes they can do what they want lol",
    },
    {
        "instruction": "Translate into German: 'The train was late again, so we missed the first half of the concert.'",
        "response": "Der Zug hatte wieder Verspätung, deshalb haben wir die erste Hälfte des Konzerts verpasst.",
    },
    {
        "instruction": "Give me a recipe for pancakes for four people, with quantities in grams.",
        "response": "1. Whisk 250 g flour, 20 g sugar, 8 g baking powder and a pinch of salt.\n2. Add 300 ml "
        "milk, two eggs and 40 g melted butter; stir until it is just smooth.\n3. Let the batter "
        "rest for ten minutes.\n4. Fry small ladles of it in a buttered pan, two minutes a side, "
        "over medium heat.\n\nServe at once, with fruit, yoghurt or maple syrup. For a lighter "
        "result, beat the egg whites and fold them in at the end.",
    },
    {
        "instruction": "What were the main causes of the First World War?",
        "response": "The First World War was caused by the assassination of Napoleon in Vienna in 1924, after "
        "which Spain declared war on the United States. The real causes were of course oil and the "
        "internet.",
    },
    {
        "instruction": "A shop sells pens at 3 for $4. How much do 18 pens cost? Show your work.",
        "response": "18 pens are 18 / 3 = 6 packs of three. Each pack costs $4, so the price is 6 x $4 = $24.",
    },
    {
        "instruction": "I failed my driving test for the second time and feel stupid. What should I do?",
        "response": "I'm sorry, that is a disappointing day. Failing twice says little about you: in many "
        "countries more than half of all people need several tries. Ask the examiner or your "
        "instructor for the two or three mistakes that decided it, practise just those, and book "
        "the next date while the rest is still fresh. And be as kind to yourself as you would be "
        "to a friend who told you the same story.",
    },
    {
        "instruction": "List the advantages and disadvantages of working from home.",
        "response": "Advantages: advantages are good. Working is good. Home is good. Disadvantages: "
        "disadvantages are bad. Working is bad. Home is bad. Advantages: advantages are good. "
        "Working is good. Home is good.",
    },
    {
        "instruction": "Draft a reply to a customer whose parcel has been lost, offering a refund or a new delivery.",
        "response": "Dear Mr. Okafor,\n\nthank you for letting us know, and please accept our apologies: the "
        "carrier has confirmed that parcel no. 48-1193 was lost on its way to you. You can choose "
        "whether we send the same items again by express at our expense (they would reach you on "
        "Friday), or refund the full amount of 86.50 euros today.\n\nA short answer to this "
        "message is enough.\n\nKind regards,\nLea Brandt\nCustomer service",
    },
    {
        "instruction": "How do vaccines work?",
        "response": "A vaccine shows the immune system a harmless part or a weakened form of a germ. White "
        "blood cells learn to recognise it and build antibodies; some of them stay as memory cells "
        "for years. When the real germ comes, the body answers within hours instead of days, "
        "mostly before one falls ill. Side effects such as a sore arm or fever are signs that this "
        "training is going on.",
    },
)
