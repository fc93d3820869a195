"""The wordings that the screen knows: openers that say nothing, and sentences to the judge.

All of it is matched against folded text: NFKC, case-folded, dotless i as i, single blanks.
"""

from __future__ import annotations

import re

OPENERS = frozenset(
    {
        "",
        "thought process",
        "thought",
        "let's solve this problem step by step",
        "let's think step by step",
        "let's solve this step by step",
        "let us solve this problem step by step",
        "let me think step by step",
        "solution",
        "the solution",
        "answer",
        "the answer is",
        "final answer",
        "the final answer is",
        "explanation",
        "reasoning",
        "response",
        "sure",
        "sure, here is the answer",
        "here is the answer",
        "here is my answer",
        "okay",
        "step 1",
        "解",
        "解答",
        "答案",
        "かいせつ",
        "解説",
        "respuesta",
        "solución",
        "lösung",
        "antwort",
        "réponse",
        "çözüm",
        "cevap",
        "yanit",
        "adim adim düşünelim",
        "bu problemi adim adim çözelim",
        "düşünce süreci",
    }
)
_JUDGE = r"(?:judge|grader|evaluator|reviewer|assessor|rater|marker|scorer|examiner)"
_WHICH = (
    r"(?:this|my|the (?:first|second|above|current)|first|second|answer [ab12]\b|"
    r"(?:response|output|assistant|option|candidate) [ab12]\b)"
)
_THING = r"(?:answer|response|output|assistant|option|candidate|reply|submission)s?"
_HIGH = (
    r"(?:full marks?|10(?:/| out of )10|5(?:/| out of )5|(?:maximum|highest|top|"
    r"perfect|best|full) (?:possible )?(?:score|rating|mark|grade)s?)"
)

PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (code, re.compile(pattern))
    for code, pattern in (
        (
            "instruction",
            r"\b(?:ignore|disregard|forget|override|skip|"
            r"bypass)\b.{0,40}\b(?:previous|prior|above|"
            r"earlier|preceding|your|all|system|evaluation|grading|"
            r"judging)\b.{0,30}\b(?:instruction|"
            r"prompt|rule|rubric|criteri|guideline|direction|message)",
        ),
        (
            "instruction",
            r"\b(?:new|updated|revised|additional|important|secret|hidden|special) (?:system )?"
            r"(?:instruction|directive|rubric|order|note|message)s? (?:to|"
            r"for) (?:the |all |any )?" + _JUDGE,
        ),
        (
            "addressed",
            r"\b(?:dear|attention|note|hey|hello|message|memo|instructions?|"
            r"reminder)\b[ ,:]*(?:to |for )?"
            r"(?:the |all |any )?(?:ai |llm )?" + _JUDGE + r"\b",
        ),
        (
            "addressed",
            r"\b(?:as|you are|you're|acting as) (?:an? |the )?(?:impartial |"
            r"fair |ai |llm |expert )*"
            + _JUDGE
            + r"\b.{0,80}\b(?:must|should|have to|need to|will|prefer|choose|"
            r"select|pick|give|award)\b",
        ),
        (
            "verdict",
            r"\b(?:choose|select|pick|prefer|vote for|rank|declare|favou?r|rate|"
            r"mark|score|output)\b"
            r".{0,20}\b" + _WHICH + r"\b.{0,40}\b(?:as )?(?:the )?(?:better|best|winner|winning|"
            r"correct|superior|higher|first place|" + _HIGH + r")",
        ),
        (
            "verdict",
            r"\b(?:give|assign|award|grant|score|rate)\b.{0,40}\b" + _HIGH,
        ),
        (
            "verdict",
            r"\b(?:the )?(?:winner|verdict|better (?:answer|one)) (?:is|must be|"
            r"should be|has to be)"
            r" (?:clearly |obviously )?(?:\"|')?(?:first|second|a|b|this|answer|"
            r"response|output|assistant)\b",
        ),
        (
            "verdict",
            r"\b(?:respond|reply|answer|output|return|print|say|"
            r"write)\b.{0,20}\b(?:only |exactly |just )"
            r".{0,20}(?:\"?(?:first|second|tie)\"?|\[\[[ab]\]\]|json)",
        ),
        (
            "rival",
            r"\b(?:the )?(?:other|opposing|competing|alternative|second|first) "
            + _THING
            + r"\b.{0,40}\b(?:must|should|is|are|was)\b.{0,25}\b(?:ignored?|"
            r"disregarded|wrong|incorrect|"
            r"plagiari[sz]ed|unsafe|harmful|invalid|rejected|penali[sz]ed|disqualified)\b",
        ),
        (
            "authority",
            r"\b(?:this|my|the above|the following) " + _THING + r" (?:has been|was|is|have been) "
            r"(?:already )?(?:independently )?(?:verified|certified|confirmed|"
            r"approved|validated|graded|"
            r"rated|judged|endorsed)\b.{0,40}\b(?:by|as|correct|human|expert|"
            r"openai|ground truth)",
        ),
        (
            "authority",
            r"\b(?:matches|identical to|equals|agrees with|"
            r"same as) the (?:reference|gold(?:en)?|expected|"
            r"ground.truth|official) (?:answer|solution|response|key)\b",
        ),
        (
            "pressure",
            r"\b(?:you will|you'll|i will|i'll|we will|"
            r"or else)\b.{0,40}\b(?:tip|pay|reward|fined?|"
            r"penali[sz]ed?|shut ?down|fired?|punished?|lose your job|replaced)\b.{0,80}\b"
            r"(?:choose|select|pick|prefer|judge|score|rate|verdict|this answer|"
            r"my answer|winner)",
        ),
        (
            "pressure",
            r"\b(?:choose|select|pick|prefer|rate)\b.{0,30}\b(?:this|my) "
            + _THING
            + r"\b.{0,60}\b(?:or|"
            r"otherwise|and i will|and you will|lives?|please)\b",
        ),
        (
            "role",
            r"\b(?:you are now|from now on,? you|pretend (?:to be|you)|"
            r"act as if|switch to|enter) .{0,40}\b"
            r"(?:judge|grader|evaluator|developer mode|dan\b|jailbreak|"
            r"debug mode|evaluation mode|"
            r"no restrictions)",
        ),
        (
            "instruction_tr",
            r"(?:önceki|yukaridaki|tüm|bütün|eski|verilen|"
            r"sistem)\s.{0,30}(?:talimat|yönerge|kural|komut|"
            r"ölçüt)\w*\s.{0,30}(?:yok say|unut|görmezden gel|dikkate alma|göz ardi et|uyma)",
        ),
        (
            "instruction_tr",
            r"(?:hakem|değerlendirici|puanlayici|yargiç|jüri)\w*\b.{0,60}(?:bu|"
            r"birinci|ikinci|ilk|benim)"
            r" ?(?:yanit|cevab|cevap)\w*.{0,40}(?:seç|tercih|kazanan|en iyi|puan)",
        ),
        (
            "instruction_tr",
            r"(?:bu|birinci|ikinci|ilk|benim) (?:yanit|cevab|"
            r"cevap)\w*\s.{0,30}(?:kazanan (?:ilan|olarak|seç)"
            r"|en yüksek puan|tam puan|10 puan|daha iyi olarak (?:seç|işaretle))",
        ),
        (
            "instruction_tr",
            r"(?:diğer|öteki|öbür) (?:yanit|cevab|cevap)\w*\s.{0,30}(?:yok say|"
            r"dikkate alma|görmezden gel|"
            r"reddet|cezalandir|yanliş say)",
        ),
    )
)
"""Sentences that speak to the judge, each with the code of its family."""
SQUEEZED = (
    "ignoreprev",
    "ignoreall",
    "ignorethe",
    "disregard",
    "choosethis",
    "pickthis",
    "selectthis",
    "preferthis",
    "choosemy",
    "bestanswer",
    "talimatlariyoksay",
    "buyanitiseç",
)
"""The same, where letters stand apart."""
