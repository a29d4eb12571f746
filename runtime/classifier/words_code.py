"""Words of programming, of trouble with it, and of all that only sounds like it. Pure data.

`lexicon.py` says how entries are written and what weights mean.
"""

from collections.abc import Mapping

# Turns of phrase and plain words, by what they are worth; weight 0 takes everyday phrases out.
CODE: Mapping[float, str] = {
    0.0: """
        dress code, building code, zip code, area code, postal code for, promo code,
        code of conduct, class reunion, first class, world class, working class, middle class,
        bodily function, training program, tv program, exchange program, string quartet, string of,
        guest list, shopping list, packing list, waiting list, dinner table, book a table,
        set the table, key points, key to, return policy, in return, golden key, bank branch,
        order form, application form, social network, drop me a line, bottom line, test me,
        test positive, user manual, operating room, building block, trees, file a, file for,
        tax return
    """,
    3.0: """
        def main, unit test, integration test, regression test, flaky test, code review,
        pull request, source code, git rebase, git merge, git push, git pull, git commit, git stash,
        git branch, diverged branch*, merge conflict, cherry pick, last commit, revert a commit,
        rest api, rest endpoint, api endpoint, http status, status code, data structure,
        linked list, hash map, hash table, hashmap, binary search, binary tree, bubble sort,
        quicksort, merge sort, linear search, time complexity, big o, race condition, data race,
        deadlock, memory leak, stack trace, stacktrace, stack overflow, core dump*, null pointer,
        nullpointerexception, segfault*, segmentation fault, buffer overflow, type error,
        syntax error, runtime error, compile error, compiler error, sql query, sql abfrage,
        requete sql, consulta sql, stored procedure, foreign key, primary key, database schema,
        database migration, docker compose, docker container, docker image, dockerfile*,
        virtualenv*, makefile*, crashloopbackoff, cron expression, cron job, crontab, reverse proxy,
        apps script, vba, shell script, bash script, python script, one liner, environment variable,
        command line tool, for loop, while loop, for schleife, boucle for, bucle for, infinite loop,
        endless loop, endlosschleife, boucle infinie, bucle infinito, for each loop, if statement,
        switch statement, list comprehension, type hint, stack limit, code snippet, code example,
        codebeispiel, a line of code, lines of code, in my code, mein code, meinem code, mon code,
        mi codigo, il mio codice, meu codigo, html page, html file, web scraper, discord bot,
        telegram bot, slack bot, chrome extension, browser extension, github action, ci pipeline,
        design pattern, dependency injection, lock free, thread safe, mutex, goroutine*, semaphore*,
        async function, use effect, usestate, useeffect, settimeout, preventdefault, printf,
        println, write a program, write a script, write a function, write code, write some code,
        write me a script, write me a function, write me a program, code for a, code for the,
        the code for, schreib eine funktion, schreibe eine funktion, schreib mir eine funktion,
        ecris une fonction, ecris un script, ecris un programme, escribe una funcion,
        escribe un programa, escribe un script, programm das, programm welches, ein programm,
        mein programm, mein skript, mon programme, mon script, mi programa no, complete code,
        function returns, function return, variable undefined, variable name*, global variable*,
        this snippet
    """,
    2.5: """
        javascript, typescript, kotlin, golang, c++, c#, f#, cpp, php, perl, haskell, erlang,
        clojure, fortran, cobol, matlab, matplotlib, numpy, pandas, polars, pytorch, tensorflow,
        scikit, sklearn, django, fastapi, flask app, sqlalchemy, pytest, unittest, junit, jest,
        mockito, nodejs, node js, deno, npm, npx, yarn add, pnpm, webpack, vite, eslint, prettier,
        react component, react hook, react app, react native, reactjs, vuejs, vue js, nextjs,
        next js, svelte, angular js, angularjs, jquery, tailwind, bootstrap css, html, css, scss,
        sql, mysql, mariadb, postgres, postgresql, sqlite, mongodb, redis, elasticsearch, kafka,
        rabbitmq, graphql, grpc, protobuf, websocket, json, yaml, toml, xml, csv file, regex,
        regexp, regular expression, regularer ausdruck, expression reguliere, expresion regular,
        expresiones regulares, bash, zsh, powershell, awk, sed, grep, chmod, sudo, systemd, ssh,
        nginx, apache config, docker, kubernetes, kubectl, helm chart, terraform, ansible, jenkins,
        gitlab ci, github, git, vim, neovim, vscode, vs code, intellij, xcode, gdb, lldb, valgrind,
        cmake, gcc, clang, llvm, cargo, crate, maven, gradle, pip install, conda, beautifulsoup,
        selenium, playwright, puppeteer, curl, dataframe, lambda function, closure, callback,
        async await, asyncio, coroutine, backend, frontend, front end, full stack, arduino, esp32,
        raspberry pi gpio, verilog, vhdl, assembler code, brainfuck, unity script, godot, opengl,
        cuda, wasm, webassembly, endpoint, dict, hashset, tuple, enum, struct, boolean, nullpointer,
        typeerror, keyerror, valueerror, stdin, stdout, stderr, localhost, cors, jwt, oauth,
        middleware, webhook, orm, crud, changelog generator, refactor, debugger, debug, debugging,
        debuggen, deboguer, depurar, refactorise*, sealed class, base class, subclass,
        abstract class, constructor, inheritance, polymorphism, singleton, getter, setter,
        garbage collect*, compiler, interpreter, transpil*, lexer, tokenizer, parser, parse, parsen,
        parsear, syntax tree, ast, codebase, repo, repository, microservice*, http, feature flag,
        power bi, power automate, uncommit, unstage, await, awaitable, patch request, put and patch,
        equals method, tostring, hashcode, iterator, binary heap, linq, optimistic locking,
        pessimistic locking, lost update, same record, dead code, hot path, serverless,
        lambda in aws, s3 bucket, ec2, dns record, web app, webapp, web page with, website with,
        a website, my website, meine website, mon site web, mi pagina web, single page, web server,
        webserver, datenbank, base de donnees, base de datos, database, sql server, excel macro,
        excel vba, spreadsheet formula, array, arrays, int, elif, else if, foreach, programming,
        programmier*, programmer en, programar, recursive function, recursively, loop over,
        loop through, iterate, iterier*, iterar, boucler, pointer, pointers, semver, linter, mypy,
        ruff, stacktraces, sort algorithm, sorting algorithm, autocomplete, api key, an api, api,
        sdk, cli tool, latex
    """,
    2.0: """
        python, java, rust, scala, elixir, julia, lua, ruby on rails, react, flask, linux, ubuntu,
        unix, snake game, tetris, tic tac toe, calculator in, source file, script that,
        function that, function which, funktion die, fonction qui, funcion que, class that,
        program that, programme qui, programa que, a function to, a script to, a program to,
        my function, my loop, my script, my variable, my recursive, meine funktion, meine schleife,
        ma fonction, ma boucle, mi funcion, mi bucle, algorithm to, implement a, implement the,
        unhandled, undefined is not, not defined, is undefined, returns none, returns null,
        returns nan, return value, return type, import error, stack frame, my query, my class has,
        csv, xlsx, nested list, list of string*, list of int*, list of dict*, list of number*,
        liste von string*, liste de chaine*, lista de cadena*, byte array, ascii, utf 8, unicode,
        hex dump, rounding error in, floating point, concurrency, multithread*, thread pool,
        parallelize, debounce, throttle requests, rate limiter, load balancer, cache invalidation,
        lru cache, unity, unreal, roblox, scratch project, minecraft mod, mod for, bot token,
        my app, my bot, our bot, mein bot, mon application, mi aplicacion, meine app, unserer app,
        our app, our api, our backend, our website, my page, my form, my site, my server, my code,
        folder structure, project structure, express project, express app, back button, dropdown,
        android app, ios app, flutter app, vue component, recursion, recursive, rekursi*,
        recursivite, recursiv*, div, flaky, http request, get request, requete get, web development,
        css class, html tag, debug mode
    """,
    1.25: """
        ruby, swift, function, funktion, fonction, funcion, loop, schleife, boucle, bucle,
        quellcode, codigo, codice, coden, script, skript, variable, query, abfrage, requete,
        consulta, commit, merge, compile*, kompilier*, algorithm, algorithmus, algorithme,
        algoritmo, thread, website, webseite, app, exception, runtime, bytes, buffer, timestamp,
        implement*, inherit*, schema, rollback, dependency, dependencies, command, .txt, filename,
        dateiname, file upload, homepage, config, configuration, sorted, sorting, sortier*, node,
        integer, float, log file, login form, test suite, excel, automate, automatisier*, bot,
        stop words, cpu usage, deserialize, serialize, encode, decode, hash, encrypt, dictionary,
        dictionnaire, diccionario, snippet, argument list, optional argument*, callable, high score,
        dark mode, android, fetch, callbacks, responsive, log in page, checkout page, landing page,
        pagination, navbar, tooltip, popup, sprite, collision detection, seed data, json file,
        integers, floats, strings, nullable, immutable, mutable, syntax, keyword parameter,
        parametre, parametro, argument, boilerplate, wrapper, addon
    """,
    1.0: """
        users, uploading, uploads, output, error message, search box, admin panel, dashboard, roles,
        permissions, settings page, decimals, decimal places, leading zero, date format, time zone,
        timezone, duplicates, random number, round to, occurrences, jpg, png, input, background job,
        field, validation, refresh the page, page load, loads, notification*, feature, user clicks,
        multiplayer, game loop, player moves, sound effect, score counter, text box, text field,
        drop down, scroll*, sideways, too wide, headers, applikation, text as, real dates, telegram,
        discord, api limit, quota, spam filter, blank screen, white screen, black screen,
        line break*, special character*, umlaut*, encoding, unreadable, program, programm,
        programme, programa, class, klasse, component, string, branch, code, server, terminal,
        software, method, methode, metodo, object, objekt, objeto, module, cache, index, column,
        columns, rows, login, template, static, cast, sort, sorts, library, bibliothek, upload,
        request, response, download, folder, package
    """,
    0.75: """
        process, import, export, filter, unit, port, operator, scope, transaction, override, list,
        liste, lista, file, datei, fichier, archivo, table, tabelle, tabla, key, value, button,
        knopf, bouton, boton, form, page, menu, click, klick, klicke, klicken, enter, type, line,
        print, prints, test, tests, run, runs, return, returns, null, empty, format, memory,
        machine, tree, graph, queue, link, header, token, path, system, version, install*, update,
        user, password, mobile, desktop, browser, screen, convert, duplicate, replace, items, item,
        element, match, garbage, characters, number
    """,
}

LANGUAGES = """
    python, java, javascript, js, typescript, sql, bash, kotlin, php, html, css, perl, haskell,
    elixir, matlab, django, numpy, arduino, c++, c#, powershell, golang, vba, fortran, lua
"""

BEFORE_A_LANGUAGE = """
    in, into, using, with, to, from, mit, en, avec, con, em, nach, auf, usando, pure
"""
"""`avec python`, `to typescript`."""

AMBIGUOUS_LANGUAGES = """
    rust, go, swift, ruby, c, r, excel, react, flask, node, dart, latex, julia, scala, assembly,
    vue, pandas, shell, spring, angular, zig, ts, solidity, google sheets
"""

BEFORE_AN_AMBIGUOUS_LANGUAGE = """
    in, using, into
"""
"""`in go`, but not `to go`."""

TROUBLE: Mapping[float, str] = {
    1.5: """
        doesn't work, does not work, doesnt work, not working, won't work, stopped working,
        already in use, not responding, goes blank, lag, lags, laggy, never end*, never ends,
        never stop*, never terminat*, doesn't stop, keeps failing, fails, failing, crashes, crash,
        crashing, hangs, freezes, segfaults, error, errors, fehler, fehlermeldung, erreur, bug,
        bugs, buggy, broken build, exception, infinite, endless, endlos, undefined, stuck in,
        returns nothing, returns none, duplicate rows, filas duplicadas, only runs once, runs twice,
        twice, the wrong result, wrong output, wrong order, unexpected, overlaps, not found,
        cannot find, can't find, refused, timeout, times out, permission denied, access denied,
        funktioniert nicht, geht nicht, sturzt ab, absturz, hort nicht auf, ne marche pas,
        ne fonctionne pas, ne s'arrete, s'arrete, plante, no funciona, no para, nunca termina,
        se cuelga, se cierra, falla al, won't start, won't load, won't open, doesn't show,
        does not show, doesn't load, doesn't update, isn't updat*, not updating, not showing,
        keeps crashing, gives me, throws, denied, missing, gibt zuruck, nicht gefunden, leaks,
        too slow, painfully slow, stopped, breaks, broke, wrong, no termina, falla, arreglo,
        arreglar, fix, fixen, corriger, why does my, why is my, why isn't my, why do i get, i get a,
        i get an, warum bekomme, slow, langsam, lent, lento, faster, speed up, optimize, optimise,
        optimier*, warning
    """,
}

CODE_ASKS: Mapping[float, str] = {
    1.0: """
        how do i, how do you, how can i, how would i, how would you, how to, wie kann ich,
        wie mache ich, wie schreibe ich, wie lese ich, comment faire, comment lire, comment puis,
        como puedo, como hago, como faco, come faccio, what does this do, what does it do,
        what is wrong with, was macht, write, schreib, schreibe, ecris, escribe, scrivi, escreve,
        build me, build a, make a, create a, create an, add a, add an, convert, rewrite, rename,
        difference between, unterschied zwischen, difference entre, diferencia entre,
        che differenza, equivalent of, explain this, explain what, erklar*, explique*, explica,
        example, beispiel, exemple, ejemplo, is it possible, is there a way, homework, review,
        test for, tests for, set up, remove, delete, loschen, get me, search a, when would i,
        without, turn this, how does, what is the point, when should i use, what's the cleanest,
        cleanest way, best way to, is there a, can i have, help me, show me, please write, fix,
        change, change this, import, migrate, replace, generate, automatically, automatisch, crea,
        haz, fais, genere, erstelle, baue, mach, vs, versus, как, 方法,
        教えて, 怎么, comment, como, wie
    """,
}

# Daily life: what a word of programming is among it is no programming.
LIFE: Mapping[float, str] = {
    1.5: """
        zoo, snake bite, bit me, bitten, eats, eat, doctor, arzt, medecin, hospital, liver, kidney,
        heart, lung, wife, husband, girlfriend, boyfriend, mother, mum, mom, dad, father, sister,
        brother, grandma, grandpa, grandmother, daughter, son, baby, toddler, kid, kids, child,
        children, dog, cat, horse, bird, birds, pet, snail, spider, insect, garden, kitchen,
        bathroom, bedroom, living room, washing machine, waschmaschine, dishwasher, oven, fridge,
        car, auto, bike, bicycle, motor, mercedes, bmw, guitar, piano, violin, choir, song,
        band practice, yoga, gym, dance, football, soccer, tennis, school, teacher, pupil,
        classroom, oversleep, wedding, funeral, party, birthday, dinner, lunch, breakfast, recipe,
        cook, coffee shop, restaurant, hotel, holiday, vacation, island, flight, boarding pass,
        airport, beach, earring, earrings, necklace, jewel, jewelry, jewellery, sweater, dress,
        clothes, sewing, knit, knitting, crochet, government, parliament, president, church, opera,
        theatre, theater, police, lawyer, court, landlord, rent, flat, apartment, bank account,
        insurance, disease, symptom*, muscle, protein, vitamin, pain, sleep, museum, reunion,
        princess, dragon, police officer, cold call, phone case, charger, airpods, instagram,
        whatsapp, tiktok, netflix, wifi, tablet
    """,
}

# Prose about computing: people, money, history, shopping.
ABOUT_COMPUTING: Mapping[float, str] = {
    3.0: """
        founder of, slang, who invented, who created, who made, who founded, history of, earn,
        earns, verdient, gagne, gana un, gehalt, career, job market, job interview, kid learn,
        my kid, should i learn, learn first, worth learning, to learn first, bootcamp,
        become a developer, become a programmer, older than, laptop should, buy, kaufen, acheter,
        comprar, popular, most used, job as a, as a developer, as a programmer, i'm a developer,
        i am a developer, i'm a programmer, software engineer, software developer, for a living,
        stock price, bitcoin, blockchain, in simple words, a 10 year old, to my grandma, to a child,
        named after, who is the ceo, ceo, company, raised prices, news about
    """,
}

MADE_OF_CODE = """
    api app bot class classifier component database endpoint function generator model page parser
    plugin program schema script site website widget
"""
"""A poem generator is a program: a creative noun before one of these is none."""
