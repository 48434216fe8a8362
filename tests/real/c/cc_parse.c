/* cc_parse.c: a small interpreter of expressions, for the compiler to chew. SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { NUMBER, NAME, PLUS, MINUS, TIMES, OVER, POWER, OPEN, CLOSE, ASSIGN, LESS, END };

union value {
    double number;
    char name[16];
    struct {
        unsigned low : 5, mid : 20;
        signed high : 7;
    } bits;
};

struct token {
    enum kind kind;
    union value value;
};

static struct {
    const char *at;
    struct token token;
    jmp_buf failed;
    double variables[26];
} parser;

static void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

static void fail(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    longjmp(parser.failed, 1);
}

static void next(void)
{
    struct token *t = &parser.token;
    while (isspace((unsigned char)*parser.at))
        parser.at++;
    switch (*parser.at) {
    case 0: t->kind = END; return;
    case '+': t->kind = PLUS; break;
    case '-': t->kind = MINUS; break;
    case '*': t->kind = TIMES; break;
    case '/': t->kind = OVER; break;
    case '^': t->kind = POWER; break;
    case '(': t->kind = OPEN; break;
    case ')': t->kind = CLOSE; break;
    case '=': t->kind = ASSIGN; break;
    case '<': t->kind = LESS; break;
    default:
        if (isdigit((unsigned char)*parser.at)) {
            char *end;
            t->kind = NUMBER;
            t->value.number = strtod(parser.at, &end);
            parser.at = end;
            return;
        }
        if (!islower((unsigned char)*parser.at))
            fail("unexpected '%c'\n", *parser.at);
        t->kind = NAME;
        memset(&t->value, 0, sizeof t->value);
        t->value.name[0] = *parser.at;
    }
    parser.at++;
}

static double sum(void);

static double primary(void)
{
    double v;
    struct token t = parser.token;
    next();
    switch (t.kind) {
    case NUMBER: return t.value.number;
    case NAME:
        if (parser.token.kind == ASSIGN) {
            next();
            return parser.variables[t.value.name[0] - 'a'] = sum();
        }
        return parser.variables[t.value.name[0] - 'a'];
    case MINUS: return -primary();
    case OPEN:
        v = sum();
        if (parser.token.kind != CLOSE)
            fail("missing )\n");
        next();
        return v;
    default: fail("unexpected token %d\n", t.kind);
    }
}

static double power(void)
{
    double v = primary();
    if (parser.token.kind == POWER) {
        long n;
        double r = 1;
        next();
        for (n = (long)power(); n > 0; n >>= 1, v *= v)
            if (n & 1)
                r *= v;
        return r;
    }
    return v;
}

static double product(void)
{
    double v = power();
    for (;;) {
        if (parser.token.kind == TIMES)
            next(), v *= power();
        else if (parser.token.kind == OVER)
            next(), v /= power();
        else
            return v;
    }
}

static double sum(void)
{
    double v = product();
    for (;;) {
        if (parser.token.kind == PLUS)
            next(), v += product();
        else if (parser.token.kind == MINUS)
            next(), v -= product();
        else if (parser.token.kind == LESS)
            next(), v = v < product();
        else
            return v;
    }
}

static void evaluate(const char *text)
{
    parser.at = text;
    if (setjmp(parser.failed))
        return;
    next();
    printf("%s = %.15g\n", text, sum());
    if (parser.token.kind != END)
        fail("rubbish at '%s'\n", parser.at);
}

int main(int argc, char **argv)
{
    static const char *const texts[] = {"1 + 2 * 3", "a = (1 + 2) ^ 3 - 4 / 5", "a * a",
                                        "2 ^ 3 ^ 2",
                                        "-(1 - 5) < 5", "1 +", "7 $ 2", "(1", "1 2", "b = c = 4"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        evaluate(texts[i]);
    for (int i = 1; i < argc; i++)
        evaluate(argv[i]);
    return parser.variables[1] == 4 ? 0 : 1;
}
