"""Words that name a task or open a message. Pure data.

`lexicon.py` says how entries are written and what weights mean.
"""

from collections.abc import Mapping

CREATIVE: Mapping[float, str] = {
    3.0: """
        write a story, story in which, story where, short bio, a bio, breakup text, pickup lines,
        superhero, invent a, erfinde ein, invente un, inventa un, screenplay, fan fiction,
        alternate ending, plot for, plot twist, opening line for, lyrics for, dialog zwischen,
        rede fur, discours pour, discurso para, verse, verses, headline, an invitation, einladung,
        invitacion, poem, poems, poetry, haiku, limerick, sonnet, ballad, rhyme, rhymes, gedicht,
        poeme, poema, reim, song about, a song, lyrics, liedtext, chanson, cancion, rap about,
        story about, short story, bedtime story, continue this story, geschichte uber,
        kurzgeschichte, histoire sur, histoire courte, cuento, tell me a story, fairy tale, marchen,
        fable, novel, novella, dialogue between, monologue, joke, jokes, witz, witze, blague,
        chiste, pun, puns, slogan, tagline, motto, caption, instagram bio, cover letter, bewerbung*,
        lettre de motivation, carta de presentacion, resignation letter, love letter,
        wedding speech, toast, eulogy, birthday card, birthday message, spruch, essay, blog post,
        linkedin post, tweet, product description, press release, advert, name ideas,
        ideas for names, names for, a name for, namensideen, idees de noms, villain, backstory,
        character for, write an email, write a letter, write a mail, email to my, letter to my,
        schreib eine mail, schreibe einen brief, ecris un mail, ecris une lettre, escribe un correo,
        escribe una carta, write in a card, sounds more friendly, sound more friendly,
        sound more professional, more polite, ideas for a, gift card text, invitation text,
        einladungstext
    """,
    1.5: """
        write, compose, invent, imagine, make up, schreib, schreibe, dichte, erfinde, ecris,
        invente, escribe, rewrite, rephrase, reword, formulier*, funny, lustig*, drole, divertido,
        romantic, friendly tone, ideas, speech, rede, story, song, letter, brief, lettre, carta,
        title for
    """,
}

TRANSLATION: Mapping[float, str] = {
    3.0: """
        translate, translation of, ubersetz*, traduis, traduire, traduisez, traduction, traduce,
        traducir, traduzca, traduci, traduza, how do you say, wie sagt man, comment dit on,
        como se dice, ins deutsche, ins englische, ins franzosische, ins spanische,
        in english please, in german please, in french please, in spanish please,
        in portuguese please, auf deutsch bitte, auf englisch, auf franzosisch, auf spanisch,
        en anglais, en allemand, mean in english, mean in german, mean in french, mean in spanish,
        auf deutsch, in 5 languages, in other languages, italian word, french word, german word,
        spanish word, was heisst, correct german, correct english, correct french, correct spanish,
        grammatically correct, al ingles, al espanol, al aleman, to japanese, to german, to french,
        to spanish, to polish, to italian, into english, into german, into french, into spanish,
        into polish, into italian
    """,
    1.5: """
        in italian, in spanish, in german, in french, in portuguese, in polish, in dutch,
        in japanese, in chinese, in russian, in arabic, in turkish, in korean, in latin, in swedish,
        in english, simple german, simple english, plain english, leichte sprache, auf italienisch,
        auf polnisch, auf turkisch, auf russisch, en espagnol, en italien, en portugais, en ingles,
        en frances, en aleman, en italiano
    """,
}

SUMMARY: Mapping[float, str] = {
    3.0: """
        summarize, summarise, summary, summaries, tl dr, tldr, zusammenfass*, fasse, fass das,
        kurz zusammen, zusammenfassung, resume ce, resumer, resume le, resume la, resume en,
        resumir, resumen, key points, main points, wichtigsten punkte, points cles, puntos clave,
        main takeaways, takeaways, bullet points, in a nutshell, what's the gist, the gist, gist,
        shorten to, shorten the, short version of, kurze dies, in one sentence, in two sentences,
        in three sentences, en une phrase, en deux phrases, shorten this, condense, boil down,
        gist of, the short version, what did they actually
    """,
}

ANALYSIS: Mapping[float, str] = {
    2.5: """
        pros and cons, advantages and disadvantages, advantages, disadvantages, vorteile, nachteile,
        vor und nachteile, avantages, inconvenients, ventajas, desventajas, spricht fur, compare,
        comparison, vergleich*, comparer, comparar, analyse, analyze, analysis, analysier*, analiza,
        evaluate, assess, critique, feedback on, give me feedback, themes of, interpret,
        implications, effects of, impact of, evaluate the, should i accept, settle this,
        argument with my, business idea, que opinas, was haltst du von, que penses, what tone,
        better for, good replacement, who is the better, how has the role, root cause, swot, trends,
        in the long run, trade off*, what are the odds, prove me wrong, give me an opinion, why did
    """,
}

TOOL: Mapping[float, str] = {
    3.0: """
        how's the traffic, traffic to, text my, message my, call my, schalte, mach das licht,
        allume la, eteins la, enciende la, apaga la, score of yesterday, who won last night,
        latest score, near me now, right now in, put on some, add to my, to my calendar, on my list,
        flight status, track my, will it rain, is it going to rain, regnet es, call me a taxi,
        call me a cab, order me a, play some, play my, weather in, weather right now, weather today,
        weather tomorrow, wetter morgen, wetter in, wird das wetter, meteo, el tiempo en,
        search the web, search online, google when, google for, look up the current, look up online,
        browse to, turn off the, turn on the, switch off the, switch on the, dim the, set a timer,
        set an alarm, stell den wecker, timer auf, mets un minuteur, pon una alarma, pon musica,
        play some music, play the song, spiel musik, remind me, erinnere mich, rappelle moi,
        recuerdame, my calendar, create an event, add an event, shopping list, einkaufsliste,
        send a mail, send an email, send a message, schick eine mail, book a table, book a flight,
        what time is it, current price, stock price of, exchange rate, open the file, read the file,
        latest news, today's news, my documents, my inbox, my emails
    """,
}

GREETING = """
    a abend adios afternoon again all and are au awesome beaucoup bis bonjour bonsoir bro buenas
    bueno buenos bye ca cheers ciao comment cool dank danke de dias dir doing dude es evening
    everyone friend geht going good goodbye gracias grazie great guten hallo hello helped helps hey
    heya hi hola how i ihnen is it later lot meet merci moin morgen morning much muchas my nice
    night noches now ok okay perfect pleased que revoir rien s salut schon see servus so spater sup
    tag tal talk tardes te thank thanks that there thx to today tomorrow tschuss tu understand up va
    vas very vielen what wie worked works yo you
"""
"""A greeting is short, made of these words alone, and holds one of `GREETS`."""

GREETS = """
    abend adios afternoon bonjour bonsoir bye cheers ciao danke dias evening geht goodbye gracias
    grazie hallo hello hey heya hi hola meet merci moin morgen morning night noches revoir salut
    servus sup tag tardes thank thanks thx tschuss yo
"""

PHRASES = """
    good night, how are you, who are you there
"""
"""Greetings that hold none of `GREETS`."""

ASKS = """
    are can combien comment como could cual cuando cuanto cuantos darf describe did difference do
    does donde dove est explain how is ist kann perche pourquoi quale quand quanto que quel quelle
    quelles quels qui quien quoi should sind tell waar wann warum was wat welche welcher welches wer
    were what whats when where which who whom whose why wie wieso will wo would как почему что 何
"""
"""First words of a question."""

CONTINUES = """
    aber add again ahora also and are auch aussi avec but can con could das es et explain faster
    instead it jetzt kurzer less longer mach maintenant mais make mas menos mit more no nochmal now
    ohne pero please plus same sans shorter simpler sin statt still tambien that then this try und
    use why with without y
"""
"""First words of a message that goes on with what was said before."""

CONTINUE_WITH = """
    et pour, et si, how about, que tal, und was, what about, what if, wie ware, y si
"""
"""The same, of two words."""

EXPLAINS = """
    comment como explain explique how porque pourquoi warum why wie wieso
"""
"""A question that begins so wants more than a fact."""
