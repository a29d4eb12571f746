"""Words of mathematics, puzzles and plans, and of depth. Pure data.

`lexicon.py` says how entries are written and what weights mean.
"""

from collections.abc import Mapping

MATH: Mapping[float, str] = {
    0.0: """
        probability of rain, chance of rain, chance of snow, chances of rain, integral part,
        integral to, integral role, at my limit, speed limit, credit limit, age limit, off limits,
        proof of, prove me, prove you, prove him, prove her, prove them, prove myself,
        solve this argument, the matrix, love triangle, equal rights, infinity pool,
        sequence of events, fitting formula, baby formula, formula one, formula 1, camera angle,
        root canal
    """,
    3.0: """
        prove by induction, by induction, prove that, show that for, differential equation,
        differentialgleichung, equation differentielle, ecuacion diferencial, eigenvalue*,
        eigenvector*, eigenwert*, determinant of, matrix multiplication, integrate, integral of,
        integriere, derivative of, ableitung von, ableitung der, derivee de, derivada de,
        differentiate, antiderivative, partial derivative, gradient of f, taylor series,
        power series, fourier, laplace, lagrange multiplier*, system of equations, gleichungssystem,
        systeme d'equations, sistema de ecuaciones, resuelve el sistema, resuelve la ecuacion,
        solve for, solve the equation, lose die gleichung, resous l'equation, quadratic equation,
        real solutions, real roots, prime number*, primzahl*, nombres premiers, numeros primos,
        irrational, rational number*, modulo, congruence, group theory, finite group, abelian,
        isomorph*, homomorph*, topological, compact set, continuous function, differentiable,
        converges, converge absolutely, does the series, limit of the sequence, as n goes to,
        as x approaches, as n approaches, tends to infinity, counterexample, gegenbeispiel,
        diagonals, 12 gon, vertices, graph theory, every tree with, n gon, area between,
        area enclosed, rotated about, tangent at, normal vector, unit vector, scalar product,
        logarithm, exponent*, quadratic, cubic, simultaneous equations, inequalities, word problem,
        textaufgabe, probleme de maths, problema de matematicas, hausaufgabe mathe, math homework,
        maths homework, math problem, maths problem, algebra, calculus, trigonometry,
        geometry problem, factorial, exponential distribution, normal distribution, poisson,
        markov chain, random variable, variance, covariance, correlation coefficient,
        regression line, confidence interval, hypothesis test, p value, null hypothesis,
        expected number, expectation of, compute e, simplify x, expand x, factor x, factorise,
        factorize, polynomial*, completing the square, partial fraction*, long division, product is,
        their product, their sum, sum of two numbers, perfect square, perfect cube, prime factor*,
        greatest common divisor, least common multiple, number of divisors, trailing zeros,
        zeros are at the end, base 2, in base, arithmetic sequence, geometric sequence,
        geometric progression, recurrence, recursion formula, closed form, generating function,
        pigeonhole, inclusion exclusion, inequality, triangle inequality, cauchy, schwarz, riemann,
        lebesgue, hilbert, banach, metric space, open set, closed set, uniformly continuous,
        cauchy sequence, monotone convergence, l'hopital, chain rule, product rule, quotient rule,
        integration by parts, substitution rule, double integral, line integral, stokes,
        divergence theorem, jacobian, hessian, critical points, local maximum, local minimum,
        saddle point, inflection point*, inscribed, circumscribed, circumference of,
        surface area of, area of the triangle, area of a rectangle, right triangle, isosceles,
        equilateral, perpendicular, bisector, tangent to, chord of, arc length, sin x, cos x,
        law of cosines, law of sines, unit circle, radians, matrix a, rank of, kernel of,
        null space, orthogonal, basis of, linearly independent, linear algebra, linear equation*,
        linear system, vector field, cross product, dot product, modular arithmetic, euler's,
        fermat's, stirling, logarithmic, natural logarithm, half life of, free fall, projectile,
        initial velocity, acceleration of, newton's second law, kinetic energy of,
        moment of inertia, ohm's law, resistors in, moles of, molar mass, ph of, limiting reagent,
        nullstelle*, extrempunkt*, wendepunkt*, kurvendiskussion, stammfunktion, gleichung nach,
        pythagoras, dreisatz, binomische, vollstandige induktion, grenzwert, konvergiert, stetig,
        lineare gleichung*, bruchrechnung, flacheninhalt, umfang eines, rechtwinklig*, equation du,
        second degre, tableau de variation, limite de la, suite definie,
        raisonnement par recurrence, par recurrence, triangle rectangle, ecuacion de segundo,
        limite de la funcion, por induccion, triangulo rectangulo, sistema lineal, theorem, lemma,
        corollary, conjecture, combinatori*, permutation*, binomial, bayes, conditional probability,
        bedingte wahrscheinlichkeit, expected value, erwartungswert, variance of,
        standard deviation of, probability of, probability that, wahrscheinlichkeit, probabilite,
        probabilidad, how likely is it that, without replacement, chance that all,
        volume of the solid, area under, tangent line, asymptote, hypotenuse, pythagor*,
        trigonometr*, cosine, logarithm of, complex numbers, quaternion, vector space, linear map,
        real numbers, natural number*, positive integer*, every integer, integer solutions,
        number theory, diophantine, consecutive numbers, consecutive even, consecutive odd,
        consecutive integers, two digit number, three digit number, digits add up,
        sum of its digits, its digits, beweise dass, zeige dass, demontre que, montre que,
        demuestra que, comprueba que, times as old, twice as old, doppelt so alt,
        deux fois plus age, how many ways, how many different ways, wie viele moglichkeiten,
        combien de facons, cuantas formas, zero divisor*, geometric series, arithmetic progression,
        invertible, odd numbers, even numbers, nombres impairs, ungerade
    """,
    1.5: """
        prove, proof, beweis, beweise, preuve, prueba, equation, gleichung, ecuacion, matrix,
        vector, sequence, infinity, integral, derivative, ableitung, limit, probability, dice,
        die rolls, fair coin, marbles, divisible, teilbar, square root, wurzel, racine, raiz,
        radius, triangle, dreieck, circle with, angle, perimeter, prime, primes, largest, smallest,
        curve, slope, parabola, ellipse, polygon, hexagon, cube, sphere, cylinder, cone, diagonal,
        area of, volume of, flache*, aire, kurve, courbe, domain of, range of, f x, derivee,
        fonction f, converge, diverge, subset, union of, intersection of, bijection, injective,
        surjective, cardinality, show that, zeige, montre, muestra que, remainder, rest bei, gcd,
        lcm, divisor, digit, digits, coin, cards from, urn, urne, maximise, minimise, axis,
        calculate, berechne, calcule, calcula, compute, solve, lose, mod, interest rate,
        compound interest, zins, verzinst, zinseszins, doubled, verdoppelt, more than the,
        less than the, as much as, cost together, resuelve, resous, geometry, fraction, formula for
    """,
}

EASY_MATH: Mapping[float, str] = {
    2.0: """
        percent of, prozent von, pourcent de, por ciento de, square root of, plus, minus, times,
        divided by, geteilt durch, divise par, dividido por, mehrwertsteuer, vat, tip on,
        fahrenheit, celsius, ounces, in ml, as a decimal, as a fraction, as a percentage,
        split the bill, how many days between, how many weeks between, how many days until,
        wie viel ist, combien font, cuanto es, cuantos son, kilometers in, miles in, km to miles,
        kg to pounds, pounds to kg, inches to cm, cm to inches, convert, umrechnen, convertir,
        average of, mean of the numbers, median of, squared, cubed, off the price, how many seconds,
        how many minutes are, how many hours are, wie viele sekunden, wie viele minuten,
        inches in cm, in cm, in inches, in pounds, in kg, in miles, in km, in gallons, in liters,
        in litres, sum of, rounded to
    """,
}

REASONING: Mapping[float, str] = {
    3.0: """
        who does what, who is who, who has which, wer hat was, wer ist wer, qui fait quoi,
        quien es quien, one always lies, the other never, always tells the truth, never lies,
        second tallest, who is the oldest, who is the tallest, who finished, who came, next number,
        next term, siguiente numero, nombre suivant, nachste zahl, find the pattern,
        what's the pattern, continue the sequence, find the flaw, spot the flaw, flaw in this,
        flaw in the, logical error, logically valid, is this argument valid, hidden assumption*,
        which question do you ask, single question, how did they know, how does he know,
        how does she know, how is this possible, how is that possible, lateral thinking,
        chess problem, mate in, endgame, magic square, cryptarithm*, send more money, nim,
        tic tac toe strategy, newcomb, sleeping beauty problem, envelope problem, birthday problem,
        traveling salesman, knapsack, bin packing, assignment problem, can it work,
        in which order should, without overlapping, meet all these, in what order, safe order,
        who drinks, who lives where, who likes, who ordered, who ate, who stole, who did it,
        which person, which suspect, alibi, suspects, drinks what, what place are you,
        how is he related, how are they related, related to him, no brothers, satisf*, constraint*,
        all conditions, given these conditions, these rules, following rules, nebenbedingung*,
        bedingungen, contraintes, restricciones, minimize the total, maximize the total,
        cheapest combination, shortest route, optimal route, best route, optimal allocation,
        decision tree, expected utility, bayesian, causal, derive from first principles,
        formal argument, logic puzzle, logikratsel, enigme logique, acertijo logico, brain teaser,
        brainteaser, riddle, ratsel, devinette, acertijo, adivinanza, knights and knaves, knaves,
        liar, liars, truth teller*, always lie, always lies, always tell the truth, is lying,
        are lying, lies always, mentent toujours, siempre mienten, lugen immer, tells the truth,
        who tells the truth, who is lying, sudoku, towers of hanoi, tower of hanoi, monty hall,
        prisoner's dilemma, trolley problem, zebra puzzle, einstein's riddle, river crossing,
        across a river, cross a river, cross a bridge, weighings, wiegen, counterfeit coin,
        one is fake, burns for exactly, deduce, deduction*, does it follow, follows necessarily,
        follow logically, logically follow*, must be true, which conclusion, valid conclusion,
        who sits, who owns, who lives, wer sitzt, quien tiene, qui possede, logical people,
        perfectly logical, step by step reasoning, think step by step, reason step by step,
        think carefully, think hard, think it through, reason it through, reason through, raisonne,
        razona, denke schritt, schritt fur schritt, etape par etape, paso a paso,
        explain your reasoning, show your reasoning, your reasoning, chain of reasoning,
        winning strategy, optimal strategy, best play, game theor*, game theoretic*,
        nash equilibrium, what comes next, next number in, next in the sequence, naechste zahl,
        find every fallacy, fallacies, fallacy, valid plan, valid schedule, feasible,
        find an arrangement, is it impossible, why it is impossible, why it's impossible,
        critical path, dependencies and a timeline, paradox, thought experiment, work out whether,
        assumptions model, sensitivity analysis, first principles, minimum number of moves,
        fewest moves, least number of, fastest order, am i, what am i
    """,
    1.5: """
        suppose, assume, given that, if and only if, follows, contradiction, consistent, puzzle,
        roster, dienstplan, allocate, timetable, stundenplan, seating, seat, itinerary, schedule,
        plan, planen, planifie, planifica, step by step, exactly one, at most, at least, work out,
        find out, herausfinden, figure out, optimal, optimise, strategy, truth, switch, logic,
        logical, argument, reasoning, careful, backwards, deadline, trade off*, assumptions, moves,
        takes the last, clues, wie teilen wir, alternately, each sees, rota, shift plan,
        schichtplan, planning de, cuadrante, turnos, volunteers, shifts, fox, goat, tiny boat, wolf,
        ziege, always together, in which order, which order, which day, on which day, what day,
        welcher tag, quel jour, que dia, if yesterday, wenn gestern, which days, suit all,
        suits everyone, fit in, fits, overlap, conflicts, possible combination, guards, guard, clue,
        lies, liar's, older than, younger than, taller than, shorter than, heavier than,
        faster than, alter als, junger als, grosser als, plus grand que, plus age que, mas alto que,
        mayor que, route, arrange, arrangement, construct, assign, distribute, divide them, pair up,
        verteil*, einteil*, repartir, repartis, organise, organize, visit, tournament, rotation,
        jug, jugs, litre jug, hourglass, ferry, prisoners, hats, envelopes, doors, boxes, justify,
        begrunde, justifie, justifica, conclude, conclusion, therefore, infer, prove
    """,
}

# What binds a plan or a puzzle: several of them make it hard.
CONSTRAINT: Mapping[float, str] = {
    1.0: """
        can't, cannot, can not, must, must not, may not, may only, only, exactly, at most, at least,
        no more than, before, after, until, by week, within, budget, total, each, every, neither,
        either, except, directly left, directly right, next to, both, between, earliest, latest,
        not allowed, darf nicht, darfst nur, nur, muss, mussen, hochstens, mindestens, jeder, jede,
        vor, nach, bis, doit, ne peut pas, seulement, avant, apres, chaque, au plus, au moins, debe,
        no puede, solo, antes, despues, cada, como mucho, al menos, if, wenn, si, per week, hours,
        weeks, days, months, different, same, other, including, needs, wer hat, who has,
        quien tiene, qui a, keinen, verschiedene, distinto, distintos, differents, more than once,
        more than twice, together, apart, something different, mornings, afternoons, wrong, labels,
        all, nobody, no one, none, own, max, maximum, min, minimum, unless, as long as,
        where possible, no, not, back in, never, always, some, everyone, niemand, kein, keine, alle,
        einige, aucun, personne ne, tous, ninguno, nadie, todos, sin, ohne, sans, instead
    """,
}

QUANTITY: Mapping[float, str] = {
    1.0: """
        how many, how much, how long, how old, how fast, how far, how likely, how tall,
        when do they, when will they, at what time, what is the probability, what was the,
        what is the original, what fraction, what percentage, by how many, by what,
        what are the numbers, which is it, what does the, in total, what is the chance,
        what are they, wie viele, wie viel, wie lange, wie alt, wie weit, wie schnell, wann treffen,
        nach wie vielen, combien, quelle distance, quel age, cuantos, cuantas, cuanto, cuanta,
        que edad, a que hora, original price, when is it, when will it, when does it, when is the,
        wann ist, quand est, cuando es, how do you measure, how can you measure,
        how would you measure, what is the minimum, what is the maximum, what is the smallest,
        what is the largest, what is the area, what is the volume, what is the total,
        what does each, on which day, which day, after how many, what's the largest,
        what's the smallest, largest number, smallest number, runs out, which number,
        expected number, who wins, how soon, how often will, wie gross, wie teuer, wie schwer,
        wie hoch, in wie vielen
    """,
}

# With numbers these make a problem; `WAYS` beside a question of quantity only.
CHANCE: Mapping[float, str] = {
    1.0: """
        chance, chances, odds, likelihood, probability, wahrscheinlich, wahrscheinlichkeit,
        probabilite, probabilidad, expected number
    """,
}

WAYS: Mapping[float, str] = {
    1.0: """
        ways, facons, manieres, moglichkeiten, maneras, formas, arrangements, combinations,
        anordnungen, kombinationen, combinaisons, combinaciones, handshakes, pairs, teams of
    """,
}

# A question for advice: its numbers are circumstances, nothing to calculate with.
ADVICE: Mapping[float, str] = {
    1.0: """
        should i, should we, recommend, suggest*, is it normal, normal, is it safe, safe to,
        healthy, best, ideas, advice, tips, soll ich, sollte, empfehl*, conseil, devrais, deberia,
        recomienda*, worth it, cost in, do i need, good for, cheap
    """,
}

QUANTIFIERS = """
    algunos all alle any aucun aucune cada certains chaque einige every everyone jeder kein keine
    manche nadie niemand ningun ninguna no nobody none only quelques some todos tous
"""
"""Statements about all and some, from which `CONCLUSIONS` are drawn."""

CONCLUSIONS = """
    alors also begrunde conclude concluir conclure conclusion donc entonces folgt follow follows
    forcement hence justify luego must necesariamente necessarily then therefore true valid zwingend
"""

KIN = """
    aunt brother bruder cousin daughter father fille fils frere grandfather grandmother hermana
    hermano hija hijo madre mere mother mutter nephew niece padre pere schwester sister soeur sohn
    son tochter uncle vater
"""
"""Three of them in a story make a riddle of kinship."""

NUMBER_WORDS = """
    acht cinco cinq cuatro deux diez dix dos drei eight eleven five four funf half huit neuf neun
    nine nueve ocho quatre sechs seis sept seven sieben siete six ten three tres trois twelve twice
    two vier zehn zwei
"""

FIRST_PERSON = """
    i ich im je ma me mein meine meinen meiner mes mi mich mir mis moi mon my nos nosotros notre
    nous nuestra nuestro our unser unsere us we wir yo
"""
"""Who asks for himself says so; puzzles tell of others."""

DEPTH: Mapping[float, str] = {
    1.0: """
        lock free, memory order, memory model, distributed, consensus, zero downtime, sharding,
        shard, formal proof, formally, rigorous*, asymptotic*, theorem, game theor*,
        game theoretic*, compact set, finite group, converge absolutely, counterexample,
        almost everywhere, topolog*, state of the art, peer reviewed, sensitivity, econometric*,
        reverse engineer*, cryptograph*, multi tenant, exactly once, linearizab*, perfectly logical,
        optimal strategy, in depth, derive, prove that, dual write, discount factor, jurisdiction,
        pharmacokinetic*, monograph
    """,
}

HARD: Mapping[float, str] = {
    1.0: """
        implement, design, architecture, refactor, migrate, migration, complete, from scratch,
        detailed, thread safe, including, explain every, show every step, each step, trade off*,
        plan, schedule, prove, proof, beweise, demontre, demuestra, induction, optimise, optimize,
        first chapter, economy, society, compiler, parser, deduce, assumptions, allocate, handle,
        edge cases, should handle, should not, unit tests, performance, review
    """,
}
