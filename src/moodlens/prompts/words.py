"""The wordings of the prompt grammar: 40 of each emotion in each of three sets.

No content word (`lexicon.content_words`) stands in two wordings of a set, of one emotion or of two.

The musical terms are true of the composer's music. Happy is quick and crisp, medium loud; sad is drawn out,
veiled and low in sound; calm is the most drawn out, even and consonant; energetic is very quick and full,
with drums; angry is like energetic with clashing notes. The terms name neither the mode nor an instrument of
the grammar.
"""


def _phrases(text: str) -> tuple[str, ...]:
    """Return the phrases between the commas of a text.

    >>> _phrases("sad, a lake  at night")
    ('sad', 'a lake at night')
    """
    return tuple(" ".join(phrase.split()) for phrase in text.split(","))


MOODS = {
    "happy": _phrases("""happy, joyful, cheerful, sunny, playful, merry, delighted, jolly, jovial, jubilant,
        euphoric, ecstatic, festive, lighthearted, jaunty, mirthful, amused, giggly, smiling, grinning,
        beaming, laughing, exultant, glad, pleased, optimistic, hopeful, chipper, silly, bubbly, buoyant,
        rosy, whimsical, comical, humorous, tickled, celebratory, blithe, giddy, goofy"""),
    "sad": _phrases("""sad, sorrowful, melancholic, mournful, gloomy, tearful, grieving, heartbroken, lonely,
        miserable, bereaved, depressed, downcast, disconsolate, doleful, lugubrious, plaintive, wistful,
        rueful, regretful, weeping, sobbing, lamenting, desolate, despairing, crestfallen, discouraged, glum,
        morose, somber, elegiac, tragic, pitiful, wretched, anguished, dismal, homesick, lovelorn,
        disappointed, forsaken"""),
    "calm": _phrases("""calm, peaceful, relaxing, serene, tranquil, soothing, restful, placid, contemplative,
        mindful, drowsy, dreamy, slumberous, lulling, comforting, cozy, snug, balmy, idyllic, pastoral,
        easygoing, unruffled, undisturbed, sedate, patient, harmonious, halcyon, imperturbable, quiescent,
        mild, temperate, languid, lazy, settled, unfazed, centered, grounded, bucolic, nonchalant,
        unworried"""),
    "energetic": _phrases("""energetic, exciting, powerful, driving, wild, thrilling, vigorous, dynamic,
        lively, vibrant, vivacious, animated, hyperactive, pumped, exhilarating, rousing, stimulating,
        galvanizing, peppy, frenetic, supercharged, motivating, athletic, sporty, muscular, mighty, forceful,
        robust, tireless, unstoppable, bustling, hectic, breathless, breakneck, adventurous, daring, heroic,
        spunky, enthusiastic, kinetic"""),
    "angry": _phrases("""angry, furious, enraged, hostile, hateful, irate, aggressive, violent, mad, annoyed,
        irritated, indignant, resentful, spiteful, malicious, vicious, brutal, savage, ferocious, cruel,
        ruthless, belligerent, combative, pugnacious, quarrelsome, antagonistic, threatening, menacing,
        snarling, scowling, fuming, exasperated, rabid, berserk, murderous, vindictive, venomous, scathing,
        cantankerous, choleric"""),
}
"""Mood words: adjectives that name an emotion."""

SCENES = {
    "happy": _phrases("""a birthday party, children dancing in the garden, a summer picnic, a carnival parade,
        friends on a beach, a puppy in the park, a wedding toast, a school holiday,
        opening christmas presents, balloons and confetti, an ice cream van, clowns at the circus,
        flying a kite, sprinklers on the lawn, a family reunion, lemonade on the porch, winning the lottery,
        kittens with yarn, toddlers splashing in puddles, a graduation ceremony, a spring fair,
        a seesaw and a sandbox, baking gingerbread cookies, a welcome hug, a marriage proposal,
        pancakes with syrup, ducklings on a pond, sledding down a hill, a tropical cruise, roses in bloom,
        a bouquet of daisies, a magician and his rabbit, cotton candy, a zoo visit, saturday morning cartoons,
        passing the exam, roasting marshmallows, a ladybug on clover, butterflies in an orchard,
        a new bicycle"""),
    "sad": _phrases("""a funeral in the rain, the last goodbye at a station, an empty chair by the window,
        an unanswered letter, a grave in november, an abandoned house, a widow walking home,
        the death of a mother, a hospital corridor, a soldier in a coffin, wilted flowers,
        signing divorce papers, an orphan in rags, a faded photograph, a stray dog,
        refugees without a country, bodies from a shipwreck, autumn leaves in mud, a torn doll,
        ashes in an urn, farewell to a comrade, a shuttered factory, a terminal diagnosis,
        a cold supper alone, years of exile, ruins after a flood, a beggar under a bridge,
        miners buried underground, a failed harvest, a returned engagement ring, a bankrupt farmer,
        a forgotten veteran, a sparrow with crippled wings, a withered willow, victims of a plague,
        famine and drought, an unused cradle, a lover gone overseas, a memorial wall,
        condolences by telegram"""),
    "calm": _phrases("""meditation at dawn, a sleeping baby, a lake at night, clouds over a meadow,
        tea by the fireplace, snow falling on a forest, a candle in a temple, a boat drifting on the water,
        a hammock between palms, a yoga retreat, stargazing in the desert, moonlight over the bay,
        a cat curled in blankets, an afternoon in the library, an angler beside a brook, a spa massage,
        prayer in a monastery, mist over the mountains, a bamboo grove, fields of lavender, a warm bath,
        grazing sheep, an evening breeze, knitting a scarf, jellyfish in an aquarium, koi beneath a lotus,
        a canal gondola, a cabin among pines, drizzle on a rooftop, sunset over a vineyard, a harbor at dusk,
        the ebbing tide, reading a novel, a nap in the shade, raked pebbles, gliding swans,
        a deer in the clearing, milk and honey, ferns and moss, cocoa and slippers"""),
    "energetic": _phrases("""a car chase, a workout in the gym, a football final, a crowded club,
        a rocket launch, runners in a sprint, a roller coaster ride, a skateboard contest,
        a stampede of bison, surfing giant waves, the marathon finish line, lifting barbells, a monster truck,
        lasers at a rave, skydiving from a plane, kayaks in a canyon, an overtime goal, a rodeo bull,
        a roaring stadium, a grand prix, a helicopter rescue, a ski slalom, a bungee leap, a tennis rally,
        acrobats on a trapeze, a peloton in the alps, jets in formation, an obstacle course,
        parkour through alleys, rush hour traffic, countdown at mission control, karate training,
        an aerobics instructor, a relay team, a kart circuit, a heist getaway, a hockey shootout,
        trampoline somersaults, an olympic hurdle, revving engines"""),
    "angry": _phrases("""a street fight, a shouting match, a prison riot, a slammed door, a mob at the gate,
        revenge on an enemy, a brawl in a bar, a village in flames, betrayal by a brother, smashing dishes,
        a tyrant on the balcony, protesters and barricades, a duel with swords, an executioner with his axe,
        tanks crossing a border, bombs on a city, a cheating husband, a hooligan throwing bottles,
        a blow to the jaw, a stolen inheritance, vandals with crowbars, honking and cursing, a screaming boss,
        feuding rivals, a witch trial, guns in the trenches, attacking wolves, an unforgivable insult,
        a knife at the throat, pirates raiding a port, spitting at a traitor, police with batons,
        a corrupt judge, eviction by the landlord, bullies at the locker, a liar exposed,
        barbarians sacking a castle, rebels toppling a statue, a gang ambush, a clenched fist"""),
}
"""Scenes that suggest an emotion without a mood word."""

TERMS = {
    "happy": _phrases("""allegretto, scherzando, skipping rhythm, bouncy staccato, giocoso, lightfooted,
        oompah bass, syncopated comping, polka, leggiero, swung eighths, shuffle, ragtime, gavotte, bourree,
        foxtrot, brisk stride, sparkling treble, twinkling, crisp articulation, hopping melody, gioioso,
        festoso, gaiamente, burlesco, capriccioso, humoresque, lieto, divertimento, rondo, trotting, lilting,
        chirping register, tinkling, moderately quick, mezzo forte, detached quavers, sprightly,
        frisky ostinato, two step"""),
    "sad": _phrases("""lento, dragging tempo, muted legato, largo, lamentoso, doloroso, mesto, piangendo,
        lagrimoso, flebile, malinconico, funebre, tristemente, elegy, dirge, threnody, requiem,
        drooping cadence, sighing motif, heavy tread, veiled, hollow fifths, sinking intervals,
        lingering suspensions, sordino, tolling, plodding, weary pace, dim timbre, bare texture, keening,
        afflitto, accorato, pavane, halting processional, shadowed voicings, faltering, strascinando, morendo,
        estinto"""),
    "calm": _phrases("""adagio, sotto voce, leisurely pulse, dolce, tranquillo, pianissimo, berceuse, lullaby,
        nocturne, cantabile, riposato, comodo, delicate, smooth phrasing, sustained pad, floating, barcarolle,
        held semibreves, whole notes, teneramente, soave, amabile, lontano, murmuring, whispered,
        feathery touch, velvet sonority, rounded onsets, spacious rests, gossamer, undulating, chorale, hymn,
        reverie, consonant triads, tenuto, grazioso, senza fretta, pacato, swaying meter"""),
    "energetic": _phrases("""presto, vivace, racing beat, pounding drums, con brio, con moto, veloce, volante,
        dazzling, marcato, stretto, ardito, bravura, fanfare, galop, toccata, thumping kick, snapping snare,
        sizzling hats, whirling sixteenths, full throttle, surging, tutti, punchy groove, blazing cymbals,
        maximum volume, cranked amplifier, anthem, chugging riff, rolling toms, stomping, speedy,
        swift passagework, cascading scales, high octane, bursting percussion, slancio, cancan, trionfante,
        virtuoso"""),
    "angry": _phrases("""sforzando, clashing chords, hammering, feroce, furioso, agitato, martellato,
        rabbioso, irato, harsh dissonance, grinding distortion, pesante, minaccioso, tempestoso, impetuoso,
        barbaro, strepitoso, frantic tremolo, tritone, blaring cluster, grating seconds, jagged accents,
        stabbing, screeching, shrieking feedback, growling, biting, slashing, crunching, bashing, thrashing,
        stridente, tumultuoso, concitato, sdegnoso, jarring, shrill, abrasive, raucous discord, cacophony"""),
}
"""Musical terms, as in a score or a session note: pace, dynamics, touch, timbre, form."""
